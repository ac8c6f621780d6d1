"""In training another sample takes the place of one that cannot be read."""

import shutil

import pytest
import torch

from mae.datasets import SeededDataset, collate, verify
from mae.utils.errors import DataError

PIPELINE = [
    {'type': 'DecodeImage'},
    {'type': 'RandomResizedCrop', 'size': 16},
    {'type': 'RandomFlip'},
    {'type': 'PackInputs'},
]


@pytest.fixture
def dataset(tree, tmp_path):
    """24 images of which number 3 and 17 are damaged."""
    shutil.copytree(tree / 'train', tmp_path / 'train')
    built = SeededDataset({'type': 'ImageFolder', 'root': str(tmp_path / 'train')}, PIPELINE)
    for number in (3, 17):
        with open(built.name(number), 'r+b') as file:
            file.truncate(300)
    built.replaces_bad = True
    return built


def test_a_replacement_is_a_sample_like_any_other(dataset):
    sample = dataset[(3, 5)]
    record = sample.pop('bad')
    assert record['id'] == 3
    assert record['path'] == dataset.name(3)
    assert record['reason'].startswith('cannot be decoded ')
    assert record['replaced_by'] == sample['id'] != 3
    again = dataset[(sample['id'], sample['key'])]
    assert again.keys() == sample.keys()
    assert torch.equal(again['inputs'], sample['inputs'])
    assert again['label'] == sample['label']


def test_it_depends_on_the_key_alone_and_not_on_what_was_read_before(dataset):
    dataset.__getitems__([(0, 1), (17, 2)])
    found = {key: dataset[(3, key)] for key in range(40)}
    for key, sample in found.items():
        other = dataset.__getitems__([(17, 9), (3, key)])[1]
        assert (other['id'], other['key']) == (sample['id'], sample['key'])
        assert torch.equal(other['inputs'], sample['inputs'])
        assert sample['id'] not in (3, 17)
        assert sample['key'] not in (key, 2)
    assert len({sample['id'] for sample in found.values()}) > 10


def test_a_batch_tells_of_it_and_is_the_same_as_ever_otherwise(dataset):
    good = collate(dataset.__getitems__([(0, 1), (1, 2)]))
    mixed = collate(dataset.__getitems__([(0, 1), (3, 2), (17, 4)]))
    assert 'bad' not in good
    assert [record['id'] for record in mixed.pop('bad')] == [3, 17]
    assert good.keys() == mixed.keys()
    assert mixed['ids'][0] == 0


def test_without_leave_it_is_an_error(dataset):
    dataset.replaces_bad = False
    with pytest.raises(DataError, match='cannot be decoded'):
        dataset[(3, 5)]


def test_where_nothing_can_be_read_the_first_is_named(dataset):
    for number in range(len(dataset)):
        with open(dataset.name(number), 'wb'):
            pass
    with pytest.raises(DataError) as error:
        dataset[(5, 1)]
    assert str(error.value).startswith(f'{dataset.name(5)}: ')
    assert '16 others ' in str(error.value)


@pytest.mark.parametrize('workers', [0, 2])
def test_verify_tells_of_each_in_order(dataset, workers):
    dataset.replaces_bad = False
    checked = list(verify(dataset, workers))
    assert [item.path for item in checked] == [dataset.name(i) for i in range(24)]
    bad = [number for number, item in enumerate(checked) if item.reason]
    assert bad == [3, 17]
    assert checked[3].reason.startswith('cannot be decoded ')
