"""Published digits, as files and names carry them."""

import hashlib

import pytest

from mae.utils.digest import file_digest
from mae.utils.errors import DownloadError
from mae.zoo.checksum import Checksum, checksum_in, parse_checksum, verify_checksum


@pytest.mark.parametrize('algorithm', ['sha256', 'md5'])
def test_prefix_and_whole(tmp_path, algorithm):
    path = tmp_path / 'a'
    path.write_bytes(b'weights' * 300_000)  # more than one block
    whole = hashlib.new(algorithm, path.read_bytes()).hexdigest()
    assert file_digest(path, algorithm) == whole
    for digits in (whole[:6], whole[:8], whole):
        verify_checksum(path, parse_checksum(f'{algorithm}:{digits.upper()}'))
    wrong = whole[:5] + ('0' if whole[5] != '0' else '1')
    with pytest.raises(DownloadError, match=f'begins with {whole[:6]}, not {wrong}'):
        verify_checksum(path, Checksum(algorithm, wrong))


def test_only_a_whole_sha256_is_strong():
    assert not Checksum('sha256', 'a' * 64).is_weak
    assert Checksum('sha256', 'a' * 8).is_weak
    assert Checksum('md5', 'a' * 32).is_weak


@pytest.mark.parametrize('text', ['', 'sha256:', 'sha1:abcdef', 'md5:xyzxyz', 'md5:abc', 'a' * 64])
def test_malformed(text):
    with pytest.raises(DownloadError, match='a checksum is'):
        parse_checksum(text)


def test_in_a_name():
    assert checksum_in('mae_vit_20220223-85be947b.pth') == Checksum('sha256', '85be947b')
    assert checksum_in('VIT-85BE947B.PTH') == Checksum('sha256', '85be947b')
    assert checksum_in('vit-85be947b.pth?download=true') == Checksum('sha256', '85be947b')  # wget's
    assert checksum_in('vit-85be947b.pth.tar') == Checksum('sha256', '85be947b')
    assert checksum_in('mae_vit_20220223.pth') is None
    assert checksum_in('mae-pretrain.pth') is None
    assert checksum_in('model-00100000.ckpt') is None  # a step
    assert checksum_in('mae-vit-20220223.pth') is None  # a date
