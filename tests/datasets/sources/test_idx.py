import gzip
import struct

import numpy as np
import pytest
import torch

from mae.datasets import IDXImages, SeededDataset
from mae.utils.errors import ConfigError, DataError

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 0, 1, 1, 2], np.uint8)


def idx(array, kind=8):
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape)
    return header + array.tobytes()


@pytest.fixture(params=['', '.gz'])
def root(request, tmp_path):
    pack = gzip.compress if request.param else bytes
    for prefix, count in (('train', 5), ('t10k', 2)):
        for name, array in (('images-idx3', IMAGES), ('labels-idx1', LABELS)):
            path = tmp_path / f'{prefix}-{name}-ubyte{request.param}'
            path.write_bytes(pack(idx(array[:count])))
    return tmp_path


def test_both_splits(root):
    source = IDXImages(str(root))
    assert len(source) == 5
    assert source.metainfo == {'classes': ('0', '1', '2', '3')}
    info = source.get_data_info(4)
    assert info['gt_label'] == 2
    assert torch.equal(info['img'], torch.from_numpy(IMAGES[4:5].copy()))
    assert source.get_gt_labels().tolist() == LABELS.tolist()
    test = IDXImages(str(root), 'test', classes='fashion-mnist')
    assert len(test) == 2
    assert test.metainfo['classes'][9] == 'Ankle boot'
    pipeline = [{'type': 'DecodeImage', 'channels': 1}, {'type': 'PackInputs'}]
    assert SeededDataset(test, pipeline)[1]['inputs'].tolist() == IMAGES[1:2].tolist()


def test_names_of_ones_own_and_images_alone(tmp_path):
    (tmp_path / 'a').write_bytes(idx(IMAGES))
    (tmp_path / 'b.gz').write_bytes(gzip.compress(idx(LABELS)))
    assert len(IDXImages(str(tmp_path), images='a', labels='b').metainfo['classes']) == 4
    source = IDXImages(str(tmp_path), images='a')
    assert source.get_gt_labels().tolist() == [-1] * 5
    assert source.metainfo == {'classes': ()}


ZIPPED = gzip.compress(idx(IMAGES), mtime=0)  # names of tests hold it, so no time of day


@pytest.mark.parametrize(
    ('images', 'labels', 'message'),
    [
        (idx(IMAGES)[:-1], idx(LABELS), r'a: cut short: \[5, 4, 3\] need 60 bytes, got 59'),
        (idx(IMAGES) + b'0', idx(LABELS), 'a: too long: .* got more'),
        (idx(IMAGES)[:10], idx(LABELS), 'a: cut short within its header'),
        (b'', idx(LABELS), 'a: no IDX file'),
        (b'\x89PNG\r\n', idx(LABELS), 'a: no IDX file: it must begin with two zero bytes'),
        (
            idx(IMAGES.astype('>i2'), 0x0B),
            idx(LABELS),
            'type 0x0b with 3 dimensions; expected 0x08',
        ),
        (idx(LABELS), idx(LABELS), 'with 1 dimensions; expected .* with 3: images'),
        (idx(IMAGES), idx(IMAGES), 'b: an IDX file .* with 1: labels'),
        (idx(IMAGES), idx(LABELS[:4]), 'b: 4 labels, but .*a holds 5 images'),
        (idx(IMAGES[:0]), idx(LABELS), r'a: holds nothing: its sizes are \[0, 4, 3\]'),
        (ZIPPED[:-9], idx(LABELS), 'a: cannot be read: Compressed file ended'),
        (ZIPPED[:12] + b'xx', idx(LABELS), 'a: cannot be read'),
        (
            b'\0\0\x08\x03' + struct.pack('>3I', 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
            idx(LABELS),
            'a: cut short',
        ),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path, images, labels, message):
    (tmp_path / 'a').write_bytes(images)
    (tmp_path / 'b').write_bytes(labels)
    with pytest.raises(DataError, match=message):
        IDXImages(str(tmp_path), images='a', labels='b')


def test_refused(tmp_path):
    with pytest.raises(ConfigError, match="split must be 'train' or 'test', got 'val'"):
        IDXImages(str(tmp_path), 'val')
    with pytest.raises(ConfigError, match='so must images'):
        IDXImages(str(tmp_path), labels='b')
    with pytest.raises(DataError, match='holds neither train-images-idx3-ubyte nor'):
        IDXImages(str(tmp_path))
    with pytest.raises(DataError, match='nothing: no such folder; expected one with train-images'):
        IDXImages(str(tmp_path / 'nothing'))
    (tmp_path / 'a').write_bytes(idx(IMAGES))
    (tmp_path / 'b').write_bytes(idx(LABELS))
    with pytest.raises(DataError, match='b: label 3, but there are 2 classes'):
        IDXImages(str(tmp_path), images='a', labels='b', classes=['x', 'y'])
    with pytest.raises(ConfigError, match="no list of classes 'fashion'; did you mean fashion-mn"):
        IDXImages(str(tmp_path), images='a', classes='fashion')
