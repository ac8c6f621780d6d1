"""What an address says of its file: the name to keep it under, and what it is held to."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mae.utils.errors import DownloadError
from mae.zoo.address import check_address, file_name, names_in
from mae.zoo.checksum import checksum_in
from mae.zoo.download import Remote
from mae.zoo.fetch import fetch_verified

from .server import serve

HOST = 'https://example.com/models'
WRONG = 'fedcba98'
fetch_module = sys.modules[fetch_verified.__module__]  # `mae.zoo.fetch` is the function


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv('MAE_HOME', str(tmp_path / 'home'))
    with serve() as running:
        yield running


@pytest.mark.parametrize(
    ('end', 'name'),
    [
        ('vit-85be947b.pth?download=true', 'vit-85be947b.pth'),
        ('vit-85be947b.pth?a=1/b.pth&c=2', 'vit-85be947b.pth'),
        ('vit-85be947b.pth;jsessionid=4', 'vit-85be947b.pth'),
        ('vit-85be947b.pth#section', 'vit-85be947b.pth'),
        ('vit%2D85be947b%2Epth', 'vit-85be947b.pth'),
        ('branch%2Fvit%20base.pth', 'vit base.pth'),
        ('..%2F..%2Fetc%2Fpasswd', 'passwd'),
        ('..%5C..%5Cpasswd', 'passwd'),
        ('vit%3A%22base%22%3F.pth', 'vit__base__.pth'),
        ('.vit.pth.part', 'vit.pth.part'),
        ('vit%0A.pth', 'vit_.pth'),
        ('CON.pth', '_CON.pth'),
        ('vit%C3%A9.pth', 'vité.pth'),
    ],
)
def test_name_of_the_file(end, name):
    assert file_name(f'{HOST}/{end}') == Remote(f'{HOST}/{end}').file == name


@pytest.mark.parametrize(
    ('url', 'message'),
    [
        (f'{HOST}/', 'names no file'),
        (f'{HOST}/vit-85be947b.pth/', 'names no file'),
        (f'{HOST}/?file=vit.pth', 'names no file'),
        (f'{HOST}/%2e%2e', 'names no file'),
        (f'{HOST}/{"a" * 300}.pth', ' more than 200 letters'),
        ('https://[::1/vit.pth', 'is no address: Invalid IPv6 URL'),
        ('https://example.com:port/vit.pth', 'is no address: Port'),
        ('https://me:secret@example.com/vit.pth', 'example.com holds a user name'),
        ('https:///vit.pth', 'is not https://'),
        ('hf://facebook/vit-mae-base/model.safetensors', 'has the file as https://huggingface.co/'),
        ('s3://bucket/vit.pth', 'is not https://'),
    ],
)
def test_addresses_that_lead_nowhere(url, message):
    with pytest.raises(DownloadError) as caught:
        check_address(url)
    assert message in str(caught.value)
    assert 'secret' not in str(caught.value)


@pytest.mark.parametrize(
    'end',
    [
        *('vit-85be947b.pth', 'VIT-85BE947B.PTH?download=true', 'vit%2D85be947b.pth;v=1'),
        *(
            'vit-85be947b.pth/download',
            'get?file=vit-85be947b.pth&x=1',
            'get.php?f=a%2Fb-85be947b.pt',
        ),
    ],
)
def test_hash_in_an_address(end):
    found = [checksum_in(name) for name in names_in(f'{HOST}/{end}')]
    assert [known.digits for known in found if known] == ['85be947b']


@pytest.mark.parametrize(
    'end',
    [
        *('vit-{}.pth', 'vit-{}.pth?download=true', 'vit-{}.pth;v=1', 'vit%2D{}%2Epth'),
        *('VIT-{}.PTH?x', 'vit-{}.pth/download', 'file?name=vit-{}.pth', 'vit base-{}.pth?é=1'),
        *('vit.pth?download=true#sha256={}', 'vit.pth#sha256%3D{}', 'vit.pth#SHA256:{}'),
    ],
)
def test_the_hash_is_held_to_however_it_is_written(server, end):
    good = server.sha256[:8]
    found = fetch_verified(f'{server.url}/good/{end.format(good.upper())}')
    assert found.path.read_bytes() == server.data
    assert found.proof == 'the SHA-256 in its address'
    assert found.path.name == file_name(f'{server.url}/{end.format(good.upper())}')
    with pytest.raises(DownloadError, match='is not what was published'):
        fetch_verified(f'{server.url}/good/{end.format(WRONG)}')
    asked = len(server.asked)
    fetch_verified(f'{server.url}/good/{end.format(good.upper())}')
    assert len(server.asked) == asked  # it is there


def test_the_query_goes_to_the_server_and_is_another_file(server):
    one, two = (fetch_verified(f'{server.url}/good/vit.pth?rev={n}').path for n in (1, 2))
    assert one != two
    assert one.name == two.name == 'vit.pth'
    assert server.asked == ['/good/vit.pth?rev=1', '/good/vit.pth?rev=2']
    assert 'vit.pth?rev=1' in one.with_name('vit.pth.LICENSE.txt').read_text()


def test_tool_takes_an_address(server, tmp_path, capsys):
    tool = runpy.run_path(str(Path(__file__).parents[2] / 'tools/download.py'))['main']
    tool([f'{server.url}/good/vit-{server.sha256[:8]}.pth?x=1', '--dest', str(tmp_path / 'here')])
    assert capsys.readouterr().out.endswith(f'here/vit-{server.sha256[:8]}.pth\n')


def test_a_fragment_that_is_no_digest(server):
    with pytest.raises(DownloadError, match=r"checksum .* sha256: .* md5: .*'readme'"):
        fetch_verified(f'{server.url}/good/vit.pth#readme')
    assert not server.asked


def test_what_the_server_calls_it_is_held_to_but_names_no_file(server, capsys):
    path = fetch_verified(f'{server.url}/renamed/latest').path
    assert path.name == 'latest'
    assert f'calls it renamed-{server.sha256[:8]}.pth' in capsys.readouterr().err
    for behaviour, name in (('misnamed', f'renamed-{WRONG}'), ('disposed', f'other-{WRONG}')):
        with pytest.raises(DownloadError, match=rf'not {WRONG}; deleted .*{name}\.pth\)'):
            fetch_verified(f'{server.url}/{behaviour}/latest')
    # One's own address counts before the server's names.
    fetch_verified(f'{server.url}/misnamed/vit-{server.sha256[:8]}.pth')


def test_a_published_file_with_a_query_is_held_to_its_checksum(server, monkeypatch):
    url = f'{server.url}/good/vit.pth'
    entry = SimpleNamespace(checksum=f'md5:{"0" * 6}', license='MIT')
    monkeypatch.setattr(fetch_module, 'find_entry', lambda name: entry if name == url else None)
    with pytest.raises(DownloadError, match=r'its MD5 begins with .* not 000000; deleted'):
        fetch_verified(f'{url}?download=1')


def test_mirror_with_a_query():
    remote = Remote(f'{HOST}/vit base.pth?x=1', mirror='https://mirror.org/mae/?token=2')
    assert remote.address == 'https://mirror.org/mae/vit%20base.pth?token=2'
