import pytest
import torch

from mae.datasets import collate
from mae.registry import FUNCTIONS
from mae.utils.errors import DataError


def sample(number, size=4):
    image = torch.full((1, size, size), number, dtype=torch.uint8)
    return {'inputs': image, 'label': number, 'id': 10 + number, 'key': 2**63 - 1 - number}


def test_batch():
    batch = collate([sample(0), sample(1), sample(2)])
    assert {name: (tuple(t.shape), t.dtype) for name, t in batch.items()} == {
        'inputs': ((3, 1, 4, 4), torch.uint8),
        'labels': ((3,), torch.int64),
        'ids': ((3,), torch.int64),
        'keys': ((3,), torch.int64),
    }
    assert batch['inputs'][:, 0, 0, 0].tolist() == batch['labels'].tolist() == [0, 1, 2]
    assert batch['ids'].tolist() == [10, 11, 12]
    assert batch['keys'].tolist() == [2**63 - 1, 2**63 - 2, 2**63 - 3]


def test_columns_that_the_samples_have():
    samples = [{**sample(n), 'group': n + 3, 'file_number': 50000 - n} for n in range(2)]
    batch = collate(samples)
    assert {name: batch.pop(name).tolist() for name in ('groups', 'file_numbers')} == {
        'groups': [3, 4],
        'file_numbers': [50000, 49999],
    }
    assert batch.keys() == collate([sample(0)]).keys()
    assert collate(samples)['groups'].dtype == torch.int64


def test_images_of_different_channels_name_what_makes_them_alike():
    samples = [
        {'inputs': torch.zeros(C, 4, 4, dtype=torch.uint8), 'label': 0, 'id': 0, 'key': 0}
        for C in (1, 3)
    ]
    with pytest.raises(
        DataError, match=r'\(1, 4, 4\) and \(3, 4, 4\).*DecodeImage, whose channels=1'
    ):
        collate(samples)


def test_images_of_different_shape():
    with pytest.raises(DataError, match=r'\(1, 4, 4\) and \(1, 5, 5\)'):
        collate([sample(0), sample(1, size=5)])


def test_registered():
    assert FUNCTIONS.get('collate') is collate


def test_channels_are_last_in_memory_whatever_the_images():
    planar = torch.arange(3 * 4 * 4, dtype=torch.uint8).view(3, 4, 4)
    pixels = planar.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    samples = [{**sample(0), 'inputs': image} for image in (planar, pixels)]
    inputs = collate(samples)['inputs']
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(inputs, torch.stack([planar, planar]))
