"""A file is whole or absent, whoever else writes it and however the writer ends."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from mae.utils.digest import file_digest
from mae.utils.files import (
    make_folder,
    require_writable,
    temporary_path,
    whole_file,
    whole_folder,
    write_json,
    write_text,
    writer_of,
)


def test_it_appears_when_it_is_whole(tmp_path):
    path = tmp_path / 'new' / 'file'
    with whole_file(path) as file:
        file.write(b'half')
        assert not path.exists()
    assert path.read_bytes() == b'half'
    assert file_digest(path) == hashlib.sha256(b'half').hexdigest()
    assert [*path.parent.iterdir()] == [path]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / ('n' * 250)  # the temporary name is too long
    with pytest.raises(OSError, match='File name too long') as error, whole_file(path):
        pass
    assert error.value.filename == str(path)


def test_what_fails_changes_nothing(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')

    def fail():
        with whole_file(path) as file:
            file.write(b'half')
            raise OSError('full')

    with pytest.raises(OSError, match='full'):
        fail()
    assert path.read_text() == 'old'
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / 'new' / 'folder'
    with whole_folder(path) as folder:
        (folder / 'file').write_text('half')
        assert not path.exists()
    assert [*path.iterdir()] == [path / 'file']
    assert [*path.parent.iterdir()] == [path]
    with pytest.raises(OSError, match='not empty'), whole_folder(path) as folder:
        (folder / 'other').touch()
    with pytest.raises(KeyError), whole_folder(path.parent / 'other'):
        raise KeyError
    assert [*path.parent.iterdir()] == [path]
    assert [*path.iterdir()] == [path / 'file']


def test_a_killed_writer_leaves_a_name_that_tells_who_it_was(tmp_path):
    code = (
        'import os, sys; from pathlib import Path; from mae.utils.files import whole_file\n'
        'with whole_file(Path(sys.argv[1])): os.kill(os.getpid(), 9)'
    )
    process = subprocess.Popen([sys.executable, '-c', code, tmp_path / 'file'])
    process.wait()
    (left,) = tmp_path.iterdir()
    assert writer_of(left) == (True, process.pid)
    assert writer_of(tmp_path / '.file.other-5.tmp') == (False, 5)
    assert writer_of(tmp_path / '.file') is None


def test_threads_do_not_share_a_half_written_file(tmp_path):
    """A signal or the watchdog may write `run.json` while the run does."""
    path, names = tmp_path / 'run.json', []
    writers = [threading.Thread(target=lambda: names.append(temporary_path(path))) for _ in 'ab']
    for thread in writers:
        thread.start()
    with whole_file(path) as file:
        file.write(b'{"by": "the main')
        thread = threading.Thread(target=write_json, args=(path, {'by': 'a thread'}))
        thread.start()
        thread.join()
        assert json.loads(path.read_text()) == {'by': 'a thread'}
        file.write(b' thread"}')
    assert json.loads(path.read_text()) == {'by': 'the main thread'}
    assert temporary_path(path) not in names
    assert os.listdir(tmp_path) == ['run.json']


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(OSError, match='not a regular file'):
        write_json(tmp_path / 'pipe', 1)
    assert (tmp_path / 'pipe').is_fifo()
    assert os.listdir(tmp_path) == ['pipe']


@pytest.mark.parametrize('write', [write_text, write_json])
def test_a_file_that_cannot_be_made_is_named_itself(write, tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr('os.open', refuse)
    monkeypatch.setattr('pathlib.Path.open', refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*/name'"):
        write(tmp_path / 'name', 'text')


@pytest.mark.parametrize('write', [write_text, write_json])
def test_a_folder_in_the_place_is_named_alone(write, tmp_path):
    (tmp_path / 'name').mkdir()
    with pytest.raises(OSError, match=r"Is a directory: '[^']*/name'$"):
        write(tmp_path / 'name', 'text')
    assert os.listdir(tmp_path) == ['name']


def test_a_place_is_refused_before_the_work(tmp_path):
    require_writable(tmp_path / 'new' / 'folder' / 'file')
    assert not os.listdir(tmp_path)
    with pytest.raises(IsADirectoryError):
        require_writable(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError):
        require_writable(tmp_path / 'file' / 'page')


def test_a_file_is_no_folder(tmp_path):
    make_folder(tmp_path / 'new' / 'inner')
    make_folder(tmp_path / 'new')
    (tmp_path / 'file').touch()
    for below in ('file', 'file/inner'):
        with pytest.raises(NotADirectoryError, match=f"Not a directory: '{tmp_path / below}'"):
            make_folder(tmp_path / below)
    with pytest.raises(NotADirectoryError, match="/file'"), whole_file(tmp_path / 'file' / 'a'):
        pass
    with pytest.raises(NotADirectoryError, match="/file'"), whole_folder(tmp_path / 'file' / 'a'):
        pass


def test_a_full_disk_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/file'"),
        whole_file(tmp_path / 'file'),
    ):
        raise OSError(errno.ENOSPC, 'No space left on device')
    assert not os.listdir(tmp_path)
