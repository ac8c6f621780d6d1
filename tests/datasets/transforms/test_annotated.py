"""Transforms of an image with a label map and objects: all of it moves, or nothing does."""

import pytest
import torch

import mae.datasets.transforms  # noqa: F401  registers
from mae.datasets.transforms.geometry import boxes_of
from mae.registry import TRANSFORMS
from mae.utils.seeding import seed_generators


def sample(height=40, width=60):
    """A bright rectangle, off the middle in both directions, with its map, mask and box."""
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, 8:30, 12:50] = True
    return {
        'img': (mask * 255).to(torch.uint8).expand(3, -1, -1).contiguous(),
        'map': mask[0].to(torch.int16),
        'instances': {'boxes': boxes_of(mask), 'masks': mask},
    }


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize(
    'transform',
    [
        {'type': 'RandomResizedCrop', 'size': (24, 32), 'scale': (0.3, 1.0)},
        {'type': 'DecodeRandomResizedCrop', 'size': (24, 32), 'scale': (0.3, 1.0)},
        {'type': 'RandomCrop', 'size': (32, 36)},
        {'type': 'ResizeShort', 'size': 52},
        {'type': 'CenterCrop', 'size': (27, 38)},
        {'type': 'ResizeInside', 'long_side': 45},
        {'type': 'ResizeToFit', 'size': (30, 90)},
        {'type': 'LargeScaleJitter', 'size': 36, 'scale': (0.8, 1.5)},
        {'type': 'RandomFlip'},
    ],
    ids=lambda transform: transform['type'],
)
def test_all_moves_together(transform, seed):
    seed_generators(seed)
    found = TRANSFORMS.build(transform)(sample())
    img, labels, instances = found['img'][0].int(), found['map'], found['instances']
    assert labels.shape == img.shape
    clear = (img < 8) | (img > 247)  # not where resizing mixes both
    assert clear.float().mean() > 0.7
    assert torch.equal((img > 127)[clear], labels[clear].bool())
    assert torch.equal(instances['masks'][0], labels.bool())
    assert (instances['boxes'] - boxes_of(instances['masks'])).abs().max() < 2
    assert found.get('original', (40, 60)) == (40, 60)


@pytest.mark.parametrize(
    ('transform', 'name'),
    [
        ({'type': 'RandomShift', 'pixels': 2}, 'RandomShift'),
        ({'type': 'RandAugment'}, 'RandAugment'),
        ({'type': 'Corrupt', 'kind': 'elastic_transform', 'severity': 1}, 'elastic_transform'),
    ],
)
@pytest.mark.parametrize('key', ['map', 'instances'])
def test_what_cannot_move_all_is_refused(transform, name, key):
    some = {key_: value for key_, value in sample().items() if key_ in ('img', key)}
    with pytest.raises(ValueError, match=f'^{name} moves the image, but not its label map'):
        TRANSFORMS.build(transform)(some)


def test_a_crop_from_a_file_comes_before_the_map():
    some = {**sample(), 'img_path': 'image.jpg'}
    del some['img']
    with pytest.raises(ValueError, match='DecodeRandomResizedCrop of a file moves the image, but'):
        TRANSFORMS.build({'type': 'DecodeRandomResizedCrop', 'size': 16})(some)


def test_a_middle_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match=r'40x60 is smaller than CenterCrop.size=\[64, 64\]'):
        TRANSFORMS.build({'type': 'CenterCrop', 'size': 64})(sample())
    plain = TRANSFORMS.build({'type': 'CenterCrop', 'size': 64})({'img': sample()['img']})
    assert plain['img'].shape == (3, 64, 64)


@pytest.mark.parametrize(
    ('loader', 'stored'), [('LoadMap', 'map_path'), ('LoadInstances', 'annotations')]
)
@pytest.mark.parametrize(
    'transform',
    [
        {'type': 'RandomResizedCrop', 'size': (40, 60)},
        {'type': 'CenterCrop', 'size': (40, 60)},
        {'type': 'RandomFlip', 'prob': 1.0},
        {'type': 'RandomShift', 'pixels': 1},
    ],
    ids=lambda transform: transform['type'],
)
def test_labels_are_not_loaded_behind_a_move(loader, stored, transform):
    moved = TRANSFORMS.build(transform)({'img': sample()['img'], stored: 'somewhere'})
    with pytest.raises(ValueError, match=f'{loader} stands behind .*; put {loader} before it'):
        TRANSFORMS.build({'type': loader})(moved)
