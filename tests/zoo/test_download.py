"""Whatever the server does, a file under its final name is whole and what was published."""

import multiprocessing
import os
import resource
import shutil
from collections import namedtuple
from email.message import Message
from urllib.request import Request

import pytest

from mae.utils.errors import DownloadError
from mae.zoo.address import _Redirects
from mae.zoo.checksum import Checksum
from mae.zoo.download import Remote, cache_folder, download
from mae.zoo.transfer import Patience

from .server import serve

FORK = multiprocessing.get_context('fork')
NAME = 'file.pth'
PART, LICENSE = f'.{NAME}.part', f'{NAME}.LICENSE.txt'


@pytest.fixture
def server():
    with serve() as running:
        yield running


@pytest.fixture
def patience():
    return Patience(timeout=0.3, attempts=2, pause=0.0)


@pytest.fixture
def get(server, patience, tmp_path):
    """get(behaviour, ...) downloads into `tmp_path`."""

    def call(behaviour, checksum=True, **options):
        digits = server.sha256[:8] if checksum is True else checksum
        known = Checksum('sha256', digits) if digits else None
        remote = Remote(f'{server.url}/{behaviour}/{NAME}', known, 'CC-BY-NC-4.0')
        return download(remote, tmp_path, patience=patience, **options)

    return call


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_good_file_with_its_licence(get, server, tmp_path):
    told = []
    path = get('good', progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == server.data
    assert names(tmp_path) == {NAME, LICENSE}
    note = (tmp_path / LICENSE).read_text()
    assert 'CC-BY-NC-4.0' in note
    assert 'not for commercial use' in note
    assert f'from {server.url}/good/{NAME}' in note
    assert server.sha256 in note
    assert told[-1] == (len(server.data), len(server.data))


def test_what_is_there_is_not_fetched_again(get, server):
    get('good')
    get('good')
    assert server.requests['good'] == 1


def test_file_put_there_by_hand_needs_no_network(server, tmp_path):
    (tmp_path / NAME).write_bytes(server.data)
    remote = Remote(f'https://no-such-host.invalid/{NAME}', Checksum('sha256', server.sha256))
    assert download(remote, tmp_path).read_bytes() == server.data
    assert server.sha256 in (tmp_path / LICENSE).read_text()


def test_folder_that_cannot_be_written_to_serves_too(server, tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(server.data)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    remote = Remote(f'https://no-such-host.invalid/{NAME}', Checksum('sha256', server.sha256))
    assert download(remote, tmp_path).read_bytes() == server.data
    assert names(tmp_path) == {NAME}


def test_damaged_file_put_there_by_hand_is_refused_and_kept(server, tmp_path):
    (tmp_path / NAME).write_bytes(server.data[:-1])
    remote = Remote(f'https://no-such-host.invalid/{NAME}', Checksum('sha256', server.sha256))
    with pytest.raises(DownloadError, match=r'not what was published.*remove it'):
        download(remote, tmp_path)
    assert names(tmp_path) == {NAME}


def test_wrong_file_is_refused_and_deleted(get, tmp_path):
    with pytest.raises(DownloadError, match=r'its SHA-256 begins with \w{8}, not \w{8}; deleted'):
        get('wrong')
    assert names(tmp_path) == set()


def test_without_a_published_checksum_the_length_counts(get, server, tmp_path):
    assert get('good', checksum=None).read_bytes() == server.data
    (tmp_path / NAME).unlink()
    with pytest.raises(DownloadError, match='ended after 153600 of 307200 bytes'):
        get('cut_always', checksum=None)
    assert NAME not in names(tmp_path)


@pytest.mark.parametrize(
    ('behaviour', 'ranges'),
    [
        ('cut', [None, 'bytes=153600-']),
        ('cut_no_range', [None, None]),
        ('changed', [None, 'bytes=153600-']),
        ('busy', [None, None]),
        ('moved', [None, None]),
    ],
)
def test_broken_transfer_goes_on(get, server, tmp_path, behaviour, ranges):
    assert get(behaviour).read_bytes() == server.data
    assert server.ranges == ranges
    assert names(tmp_path) == {NAME, LICENSE}


def test_interrupted_download_is_continued_by_the_next_one(get, server, tmp_path):
    def interrupt(done, total):
        if done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get('good', progress=interrupt)
    have = (tmp_path / PART).stat().st_size
    assert have >= len(server.data) // 2
    assert NAME not in names(tmp_path)
    assert get('good').read_bytes() == server.data
    if have < len(server.data):
        assert server.ranges == [None, f'bytes={have}-']
    assert names(tmp_path) == {NAME, LICENSE}


def test_complete_but_unnamed_file_is_verified_and_named(get, server, tmp_path):
    (tmp_path / PART).write_bytes(server.data)
    (tmp_path / f'.{NAME}.tag').write_text('"one"')
    assert get('good').read_bytes() == server.data
    assert server.ranges == [f'bytes={len(server.data)}-']


def test_always_truncated_body_ends_in_an_error_and_keeps_what_came(get, tmp_path):
    with pytest.raises(DownloadError, match='153600 bytes are kept'):
        get('cut_always')
    assert (tmp_path / PART).stat().st_size == 153600
    assert NAME not in names(tmp_path)


def test_dead_connection(get, tmp_path):
    with pytest.raises(DownloadError, match=r'no byte came for 0\.3 s'):
        get('stall')
    assert NAME not in names(tmp_path)


def test_slow_drip(server, tmp_path):
    patience = Patience(timeout=0.2, slowest=1e4, attempts=1, pause=0.0)
    with pytest.raises(DownloadError, match=r'only \d+ bytes came in'):
        download(Remote(f'{server.url}/drip/{NAME}'), tmp_path, patience=patience)
    assert NAME not in names(tmp_path)


@pytest.mark.parametrize(
    ('behaviour', 'message'),
    [
        ('missing', '404 Not Found'),
        ('page', 'answers with a page'),
        ('to_ftp', 'leads elsewhere, refused: ftp://'),
        ('to_file', 'leads elsewhere, refused: file://'),
        ('to_http', 'leads elsewhere, refused: http://example.com'),
    ],
)
def test_server_that_gives_something_else(get, server, tmp_path, behaviour, message):
    with pytest.raises(DownloadError, match=message):
        get(behaviour, checksum=None)
    assert names(tmp_path) == set()
    assert server.requests == {behaviour: 1}


def test_from_https_to_plain_http_is_refused_on_this_machine_too():
    headers = Message()
    headers['Location'] = 'http://127.0.0.1/file.pth'
    request = Request('https://example.com/file.pth')
    with pytest.raises(DownloadError, match='leads elsewhere, refused: http://127'):
        _Redirects().http_error_302(request, None, 302, 'Found', headers)


def test_no_room(get, tmp_path):
    with pytest.raises(DownloadError, match=r'no room: 931,322,574\.6 GiB .* free'):
        get('huge')
    assert names(tmp_path) == set()


def test_disk_that_fills_on_the_way(get, server, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # the system refuses to write more
    try:
        with pytest.raises(DownloadError, match=r'no more: .*; 200000 bytes are kept'):
            get('good')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert NAME not in names(tmp_path)
    assert get('good').read_bytes() == server.data
    assert server.ranges == [None, 'bytes=200000-']


@pytest.mark.parametrize('behaviour', ['endless', 'nonsense'])
def test_nothing_shows_whether_it_is_whole(get, server, tmp_path, behaviour):
    with pytest.raises(DownloadError, match=r'no length, .*no checksum'):
        get(behaviour, checksum=None)
    assert names(tmp_path) == set()
    if behaviour == 'endless':
        with pytest.raises(DownloadError, match='is not what was published'):
            get(behaviour)
    else:
        assert get(behaviour).read_bytes() == server.data


def test_chunks_end_with_a_mark(get, server):
    assert get('chunked', checksum=None).read_bytes() == server.data


def test_no_room_for_the_rest(get, server, tmp_path, monkeypatch):
    usage = namedtuple('usage', 'free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage(len(server.data) // 2))
    (tmp_path / PART).write_bytes(server.data[:200_000])
    (tmp_path / f'.{NAME}.tag').write_text('"one"')
    assert get('good').read_bytes() == server.data  # 107 kB were to come


def test_no_network_says_what_to_put_where(tmp_path):
    remote = Remote(f'http://127.0.0.1:9/{NAME}')
    with pytest.raises(DownloadError) as caught:
        download(remote, tmp_path)
    message = str(caught.value)
    assert message.startswith('cannot reach 127.0.0.1 (')
    assert f'fetch {remote.url} ' in message
    assert message.endswith(f' {tmp_path / NAME}')
    assert '\n' not in message
    assert names(tmp_path) == set()


def test_mirror_is_asked_instead(server, tmp_path):
    published = f'https://no-such-host.invalid/pretrain/{NAME}'
    remote = Remote(published, Checksum('sha256', server.sha256), mirror=f'{server.url}/good/')
    assert download(remote, tmp_path).read_bytes() == server.data
    assert f'from {published}' in (tmp_path / LICENSE).read_text()


@pytest.mark.parametrize(
    'url', ['http://example.com/a.pth', 'ftp://example.com/a.pth', 'file:///etc/passwd', '/a.pth']
)
def test_only_https(url, tmp_path):
    with pytest.raises(DownloadError, match='is not https://'):
        download(Remote(url), tmp_path)
    assert names(tmp_path) == set()


def test_two_processes_fetch_it_once(server, tmp_path):
    remote = Remote(f'{server.url}/gated/{NAME}', Checksum('sha256', server.sha256))
    ours, theirs = FORK.Pipe()
    first, second = (
        FORK.Process(
            target=download, args=(remote, tmp_path), kwargs={'say': theirs.send}, daemon=True
        )
        for _ in range(2)
    )
    first.start()
    assert server.started.wait(60)  # half of it is there
    while ours.poll():  # what the first has said
        ours.recv()
    second.start()
    assert ours.poll(60)
    assert f'another process is fetching {NAME}' in ours.recv()
    server.gate.set()
    for process in (first, second):
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / NAME).read_bytes() == server.data
    assert names(tmp_path) == {NAME, LICENSE}
    assert server.requests['gated'] == 1


def test_cache_is_under_mae_home(monkeypatch, tmp_path):
    monkeypatch.setenv('MAE_HOME', str(tmp_path))
    assert cache_folder() == tmp_path / 'weights'
