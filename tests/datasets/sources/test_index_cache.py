import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mae.datasets import ImageFolder
from mae.datasets.sources import folder, index_cache
from mae.datasets.sources.array_file import read_arrays, write_arrays
from mae.datasets.sources.scan import scan_folders
from mae.utils.errors import DataError


@pytest.fixture(autouse=True)
def log(monkeypatch, tmp_path):
    """Lines that were logged; indices are kept of the smallest and newest folders."""
    lines = []
    monkeypatch.setattr(index_cache, 'print_log', lambda line, logger: lines.append(line))
    monkeypatch.setattr(index_cache, 'WORTH_KEEPING', 1)
    monkeypatch.setattr(index_cache, 'SETTLING_SECONDS', -1e9)
    monkeypatch.setenv('MAE_HOME', str(tmp_path / 'home'))
    return lines


@pytest.fixture
def scans(monkeypatch):
    """Folders that were walked through."""
    seen = []

    def counted(path, labels, *args):
        seen.append(os.path.basename(path))
        return scan_folders(path, labels, *args)

    monkeypatch.setattr(folder, 'scan_folders', counted)
    return seen


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'data/photos'
    for path in ('train/a/1.png', 'train/a/deep/2.png', 'train/b/3.png', 'val/b/4.png'):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def items(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(os.path.relpath(i['img_path'], dataset.folder), i['gt_label']) for i in infos]


def kept(root, split='train'):
    (path,) = (root / '.mae_index').glob(f'{split}-*.idx')
    return path


FRESH = [('a/1.png', 0), ('a/deep/2.png', 0), ('b/3.png', 1)]


def test_a_folder_is_scanned_once(root, scans, log):
    first, second = (ImageFolder(str(root), 'train') for _ in range(2))
    assert scans == ['train']
    assert items(first) == items(second) == FRESH
    assert first.metainfo == second.metainfo == {'classes': ('a', 'b')}
    assert second.get_gt_labels().tolist() == [0, 0, 1]
    (line,) = log
    assert line.startswith(f'{root}/train: 3 images found in ')
    assert line.endswith(f'kept in {kept(root)}')


def change_names(root):
    (root / 'train/a/1.png').rename(root / 'train/a/5.png')


def change_back(root):
    """A file more, with the folder's time of change put back, as tools that copy do."""
    status = (root / 'train/b').stat()
    (root / 'train/b/5.png').touch()
    os.utime(root / 'train/b', ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    'file more': lambda root: (root / 'train/b/5.png').touch(),
    'file less': lambda root: (root / 'train/b/3.png').unlink(),
    'deep': lambda root: (root / 'train/a/deep/5.png').touch(),
    'renamed': change_names,
    'unnoticed by mtime': change_back,
    'class more': lambda root: (root / 'train/c').mkdir(),
    'class less': lambda root: (root / 'train/b').rename(root / 'b'),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_is_noticed(root, scans, log, change):
    ImageFolder(str(root), 'train')
    CHANGES[change](root)
    found = ImageFolder(str(root), 'train')
    assert items(found) == items(ImageFolder(str(root), 'train', index_cache=False))
    assert scans == ['train'] * 3
    assert 'is not used, but rebuilt' in log[1]
    assert log[1].endswith('has changed since')
    assert len(log) == 3
    assert items(ImageFolder(str(root), 'train')) == items(found)
    assert len(scans) == 3


FOREIGN = {
    'empty': lambda content: b'',
    'text': lambda content: b'photos of 2019\n' * 20,
    'cut': lambda content: content[:-3],
    'flipped': lambda content: content[:-10] + bytes([content[-10] ^ 1]) + content[-9:],
    'long': lambda content: content + b'\0',
}


@pytest.mark.parametrize('make', FOREIGN)
def test_damaged_or_foreign_files_are_rebuilt(root, scans, log, make):
    ImageFolder(str(root), 'train')
    good = kept(root).read_bytes()
    kept(root).write_bytes(FOREIGN[make](good))
    assert items(ImageFolder(str(root), 'train')) == FRESH
    assert scans == ['train'] * 2
    assert log[1].startswith(f'index {kept(root)} is not used, ')
    assert '\n' not in log[1]
    assert kept(root).read_bytes() == good


def swapped(arrays):
    ends = arrays['ends']
    return {'ends': ends[[0, 2, 1, *range(3, len(ends))]]}


# Whole files, with checksums that are right: of another version of the toolbox, or made by hand.
STRANGE = {
    'no folders': {'stamps': {}},
    'list of folders': {'stamps': ['']},
    'number of classes': {'classes': 2},
    'other classes': {'classes': ['a']},
    'labels': lambda arrays: {'labels': arrays['labels'] + 1},
    'order': swapped,
    'types': lambda arrays: {'names': arrays['names'].astype(np.int64)},
    'nothing': lambda arrays: {
        'names': arrays['names'][:0],
        'ends': arrays['ends'][:1],
        'labels': arrays['labels'][:0],
    },
}


@pytest.mark.parametrize('change', STRANGE)
def test_strange_files_are_rebuilt(root, scans, log, change):
    ImageFolder(str(root), 'train')
    meta, arrays = read_arrays(kept(root))
    arrays = {name: np.array(values) for name, values in arrays.items()}
    if callable(made := STRANGE[change]):
        arrays |= made(arrays)
    else:
        meta |= made
    write_arrays(kept(root), meta, arrays)
    found = ImageFolder(str(root), 'train')
    assert (items(found), found.metainfo) == (FRESH, {'classes': ('a', 'b')})
    assert scans == ['train'] * 2
    assert log[1].startswith(f'index {kept(root)} is not used, ')


def test_names_that_are_no_text_go_there_and_back(tmp_path, scans, log):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b'/\xfe'))
    (root / 'a').mkdir(parents=True)
    (root / os.fsdecode(b'b\xe9')).mkdir()
    for name in (b'a/1 \xff.png', b'b\xe9/2.png'):
        (root / os.fsdecode(name)).touch()
    expected = [(os.fsdecode(b'a/1 \xff.png'), 0), (os.fsdecode(b'b\xe9/2.png'), 1)]
    for _ in range(2):
        found = ImageFolder(str(root))
        assert items(found) == expected
        assert found.metainfo['classes'] == ('a', os.fsdecode(b'b\xe9'))
    assert len(scans) == 1
    assert log[0].encode()  # a log file holds it


def test_the_index_of_another_folder_is_not_used(root, scans, log):
    ImageFolder(str(root), 'val', classes=['a', 'b'])
    other = kept(root, 'val').read_bytes()
    ImageFolder(str(root), 'train', classes=['a', 'b'])
    kept(root).write_bytes(other)
    assert items(ImageFolder(str(root), 'train', classes=['a', 'b'])) == FRESH
    assert scans == ['val', 'train', 'train']
    assert 'has changed since' in log[2]


@pytest.mark.parametrize('kwargs', [{'classes': ['b', 'a']}, {'labelled': False}])
def test_other_questions_have_other_answers(root, scans, kwargs):
    plain = ImageFolder(str(root), 'train')
    other = ImageFolder(str(root), 'train', **kwargs)
    assert items(other) != items(plain)
    assert items(ImageFolder(str(root), 'train', **kwargs)) == items(other)
    assert len(scans) == 2


def test_a_list_is_read_once_and_again_when_it_changes(root, log, monkeypatch):
    (root / 'list.txt').write_text('a/1.png 0\nb/3.png 1\n')
    listed = [ImageFolder(str(root), 'train', list_file='list.txt') for _ in range(2)]
    assert items(listed[0]) == items(listed[1]) == [('a/1.png', 0), ('b/3.png', 1)]
    assert len(log) == 1
    (root / 'list.txt').write_text('b/3.png 1\n')
    assert items(ImageFolder(str(root), 'train', list_file='list.txt')) == [('b/3.png', 1)]
    (root / 'train/b/3.png').unlink()
    with pytest.raises(
        DataError, match=r'1 of the 1 files of .*list\.txt do not exist below .*: b/3\.png'
    ):
        ImageFolder(str(root), 'train', list_file='list.txt')


def test_a_folder_that_cannot_be_written_to(root, scans, monkeypatch, tmp_path, log):
    (root / '.mae_index').touch()  # so it is no folder; root may write anywhere
    for _ in range(2):
        assert items(ImageFolder(str(root), 'train')) == FRESH
    assert scans == ['train']
    assert list((tmp_path / 'home/index').glob('train-*.idx'))
    (tmp_path / 'nowhere').touch()
    monkeypatch.setenv('MAE_HOME', str(tmp_path / 'nowhere'))
    assert items(ImageFolder(str(root), 'train')) == FRESH
    assert scans == ['train'] * 2
    assert 'not kept: ' in log[-1]
    assert 'nowhere' in log[-1]


def test_small_or_unsettled_folders_leave_no_file(root, monkeypatch, log):
    monkeypatch.setattr(index_cache, 'SETTLING_SECONDS', 3600.0)
    ImageFolder(str(root), 'train')
    assert 'not kept, ' in log[0]
    monkeypatch.setattr(index_cache, 'WORTH_KEEPING', 4)
    ImageFolder(str(root), 'train')
    assert len(log) == 1
    assert not (root / '.mae_index').exists()


def test_processes_that_start_at_once_scan_once(root, scans, monkeypatch):
    """Locks on one folder hold between descriptors, so threads stand for processes."""
    scanning, plain = threading.Event(), folder.scan_folders

    def slow(*args):
        scanning.set()
        waiting.wait(10)
        return plain(*args)

    waiting, wait = threading.Barrier(2), index_cache.fcntl.flock

    def flock(descriptor, kind):
        if kind == index_cache.fcntl.LOCK_SH:
            waiting.wait(10)
        wait(descriptor, kind)

    monkeypatch.setattr(folder, 'scan_folders', slow)
    monkeypatch.setattr(index_cache.fcntl, 'flock', flock)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ImageFolder, str(root), 'train')
        assert scanning.wait(10)
        second = pool.submit(ImageFolder, str(root), 'train')
        assert items(first.result(20)) == items(second.result(20)) == FRESH
    assert scans == ['train']


def test_two_writers_at_once_leave_one_whole_file(root, scans, monkeypatch):
    monkeypatch.setattr(index_cache, '_wait', lambda descriptor: False)  # no locks: NFS
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(ImageFolder, str(root), 'train') for _ in range(16)]
        assert all(items(each.result(20)) == FRESH for each in made)
    assert [path.suffix for path in (root / '.mae_index').iterdir()] == ['.idx']


def test_workers_open_the_file_themselves(root):
    for _ in range(2):
        dataset = ImageFolder(str(root), 'train')
        sent = pickle.dumps(dataset)
        assert len(sent) < 1000
        assert b'1.png' not in sent
        assert items(pickle.loads(sent)) == FRESH  # noqa: S301  (our own)
    (root / 'train/b/5.png').touch()
    ImageFolder(str(root), 'train')
    with pytest.raises(DataError, match='rebuilt while workers started'):
        pickle.loads(sent)  # noqa: S301
    alone = ImageFolder(str(root), 'val', index_cache=False)
    assert items(pickle.loads(pickle.dumps(alone))) == [('b/4.png', 1)]  # noqa: S301


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    def refuse(path):
        if str(path).endswith('b'):
            raise PermissionError(13, 'Permission denied')
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr('os.scandir', refuse)
    with pytest.raises(DataError, match=r'train/b: cannot be read: Permission denied'):
        ImageFolder(str(root), 'train')
