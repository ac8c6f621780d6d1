import json

import numpy as np
import pytest

from mae.datasets.sources.array_file import read_arrays, write_arrays
from mae.utils.errors import DataError

ARRAYS = {
    'names': np.frombuffer(b'a/1.pngb/22.png', np.uint8),
    'ends': np.array([0, 7, 15], np.int64),
    'none': np.zeros(0, np.int32),
}


@pytest.fixture
def file(tmp_path):
    write_arrays(tmp_path / 'x.idx', {'classes': ['a', 'ü', '\udcff']}, ARRAYS)
    return tmp_path / 'x.idx'


def test_what_was_written_is_read(file):
    meta, arrays = read_arrays(file)
    assert meta == {'classes': ['a', 'ü', '\udcff']}
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert [path.name for path in file.parent.iterdir()] == ['x.idx']


def test_every_changed_byte_is_noticed(file):
    content = file.read_bytes()
    padding = range(content.index(b'}') + 1, len(content))  # and what stands in it does not matter
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 4
        file.write_bytes(changed)
        if place in padding and content[place] == 0:
            continue
        with pytest.raises(DataError, match=r'^\S+x.idx: '):
            read_arrays(file)


@pytest.mark.parametrize('length', [0, 5, 16, 40, -8, -1])
def test_cut_short(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match=r'x.idx: '):
        read_arrays(file)


def test_too_long(file):
    file.write_bytes(file.read_bytes() + b'more')
    with pytest.raises(DataError, match=r'x.idx: 4 bytes too long'):
        read_arrays(file)


def test_a_write_that_fails_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr('os.fsync', lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_arrays(file, {}, {'names': np.ones(3, np.uint8)})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ['x.idx']


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / 'x.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match='not written by this toolbox'):
        read_arrays(tmp_path / 'x.npy')
    with pytest.raises(TypeError):
        write_arrays(tmp_path / 'y', {'meta': json}, {})
    assert not (tmp_path / 'y').exists()
