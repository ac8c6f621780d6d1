import os

import pytest

from mae.utils.errors import DataError
from mae.utils.text import (
    counted,
    first_line,
    is_utf8,
    one_line,
    printable,
    read_lines,
    readable_size,
)

LINES = ['é.jpg 0', '', '\u00a0two  words.jpg 1', '日本.jpg 2']


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_encodings_and_ends_of_lines(tmp_path, encoding, end):
    path = tmp_path / 'list.txt'
    for text in (end.join(LINES), end.join([*LINES, ''])):
        path.write_bytes(text.encode(encoding))
        assert list(read_lines(path)) == list(enumerate(LINES, start=1))


def test_big_endian(tmp_path):
    (tmp_path / 'a').write_bytes(b'\xfe\xff' + 'é 1\n'.encode('utf-16-be'))
    assert list(read_lines(tmp_path / 'a')) == [(1, 'é 1')]


def test_other_bytes_stay_as_they_are(tmp_path):
    (tmp_path / 'a').write_bytes('plain\né.jpg\n'.encode('latin-1'))
    (_, plain), (_, name) = read_lines(tmp_path / 'a')
    assert os.fsencode(name) == b'\xe9.jpg'
    assert (is_utf8(plain), is_utf8(name)) == (True, False)
    assert printable(name) == '\\udce9.jpg'
    assert printable('é') == 'é'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('ab\nc'.encode('utf-16-le'), r'a:1: a zero byte.*UTF-16'),
        (b'fine\n\x89PNG\0', r'a:2: a zero byte'),
        (b'\xff\xfea\0\n\0b', r'a:\d: damaged UTF-16; save it as UTF-8'),
    ],
)
def test_what_is_no_text(tmp_path, content, message):
    (tmp_path / 'a').write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_lines(tmp_path / 'a'))


def test_messages_become_one_line():
    error = ValueError('\n one\n  two\n')
    assert first_line(error) == 'one'
    assert one_line(error) == 'one two'
    assert first_line(OSError()) == 'OSError'


def test_sizes():
    sizes = (5, 2048, 3 << 20, 1.5 * (1 << 30))
    assert [readable_size(x) for x in sizes] == ['5 bytes', '2.0 KiB', '3.0 MiB', '1.5 GiB']


def test_words_follow_their_number():
    assert [counted(n, 'epoch') for n in (0, 1, 2)] == ['0 epochs', '1 epoch', '2 epochs']
    assert counted(1, 'class', 'classes') == '1 class'
    assert counted(12345, 'class', 'classes') == '12,345 classes'
