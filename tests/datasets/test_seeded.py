import random
import shutil
import traceback

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from torch.utils.data import DataLoader

from mae.datasets import GlobalBatchSampler, SeededDataset, collate
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.hashing import sample_keys

DECODE, PACK = {'type': 'DecodeImage'}, {'type': 'PackInputs'}
CROP = {'type': 'RandomResizedCrop', 'size': 32}
TRAIN = [DECODE, CROP, {'type': 'RandomFlip'}, {'type': 'RandAugment'}, PACK]


class Draw(BaseTransform):
    """A library's transform: it draws from all three generators and knows nothing of us."""

    def transform(self, results):
        draws = [random.random(), np.random.rand(), torch.rand(()).item()]
        results['inputs'] = torch.tensor(draws)
        results['label'] = 0
        return results


@pytest.fixture
def dataset(tree):
    source = {'type': 'ImageFolder', 'root': str(tree), 'split': 'train'}
    return DATASETS.build({'type': 'SeededDataset', 'source': source, 'pipeline': TRAIN})


def first_batches(dataset, workers, number=20, **kwargs):
    """The first batches of a run, over epochs, of one rank."""
    sampler = GlobalBatchSampler(dataset, seed=1, **{'rank': 0, 'world_size': 1, **kwargs})
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    batches, epoch = [], 0
    while len(batches) < number:
        sampler.set_position(epoch)
        batches += list(loader)
        epoch += 1
    return batches[:number]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys() == {'inputs', 'labels', 'ids', 'keys'}
        assert all(torch.equal(batch[name], other[name]) for name in batch)


@pytest.mark.filterwarnings('ignore:This DataLoader will create 4 worker')
@pytest.mark.parametrize('workers', [1, 4])
def test_batches_do_not_depend_on_the_workers(dataset, workers):
    alone = first_batches(dataset, 0, batch_size=4)
    assert alone[0]['inputs'].shape == (4, 3, 32, 32)
    assert not torch.equal(alone[0]['ids'], alone[6]['ids'])  # another epoch
    assert_same(alone, first_batches(dataset, workers, batch_size=4))


def test_batches_do_not_depend_on_the_number_of_processes(dataset):
    alone = first_batches(dataset, 0, batch_size=8)
    ranks = [
        first_batches(dataset, rank, batch_size=4, rank=rank, world_size=2) for rank in range(2)
    ]
    together = [
        {name: torch.cat([one[name], two[name]]) for name in one}
        for one, two in zip(*ranks, strict=True)
    ]
    assert_same(alone, together)


def test_a_sample_is_a_function_of_its_key(dataset):
    first = dataset[(5, 123)]
    again = dataset.__getitems__([(0, 9), (5, 123)])[1]
    assert torch.equal(first['inputs'], again['inputs'])
    assert (first['id'], first['key'], first['label']) == (5, 123, 0)
    assert not torch.equal(first['inputs'], dataset[(5, 124)]['inputs'])


def test_repeats_are_the_same_image_with_another_key(dataset):
    length = len(dataset)
    one, two = dataset[(2, 7)], dataset[(2 + length, 7)]
    assert torch.equal(one['inputs'], two['inputs'])
    assert (one['id'], two['id']) == (2, 2 + length)


def test_a_plain_index_has_the_key_of_the_first_epoch(dataset):
    key = int(sample_keys(0, 0, torch.tensor([3])))
    assert dataset[3]['key'] == key
    assert torch.equal(dataset[3]['inputs'], dataset[(3, key)]['inputs'])


def test_all_three_generators_follow_the_key_and_are_put_back():
    dataset = SeededDataset({'type': 'Digits'}, [Draw()])
    assert dataset.is_random
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = [random.random(), np.random.rand(), torch.rand(()).item()]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    draws = [dataset[(0, key)]['inputs'] for key in (4, 4, 5)]
    assert torch.equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()
    assert [random.random(), np.random.rand(), torch.rand(()).item()] == expected


def test_the_source_is_never_written_into():
    pipeline = [{'type': 'RandomShift', 'pixels': 2}, {'type': 'RandomFlip'}, PACK]
    dataset = SeededDataset({'type': 'Digits'}, pipeline)
    before = dataset.source.get_data_info(3)['img'].clone()
    assert not torch.equal(dataset[(3, 8)]['inputs'], before)
    assert torch.equal(dataset.source.get_data_info(3)['img'], before)


def test_seeding_is_skipped_where_nothing_is_random():
    assert not SeededDataset({'type': 'Digits'}, [PACK]).is_random


def test_a_dataset_and_transforms_of_mmpretrain(tree):
    source = {'type': 'mmpretrain.CustomDataset', 'data_prefix': str(tree / 'val')}
    pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'mmpretrain.RandomResizedCrop', 'scale': 24},
        PACK,
    ]
    dataset = SeededDataset(source, pipeline)
    assert len(dataset) == 6
    assert dataset.metainfo['classes'] == ('n01', 'n02', 'n03')
    one, two = dataset[(4, 1)], dataset[(4, 1)]
    assert one['label'] == 2
    assert one['inputs'].shape == (3, 24, 24)
    assert torch.equal(one['inputs'], two['inputs'])
    assert not torch.equal(one['inputs'], dataset[(4, 2)]['inputs'])


@pytest.mark.parametrize('workers', [0, 1])
def test_a_broken_image_is_named(tree, tmp_path, workers):
    shutil.copytree(tree / 'val', tmp_path / 'val')
    broken = tmp_path / 'val/n02/0.JPEG'
    broken.write_bytes(broken.read_bytes()[:700])
    dataset = SeededDataset({'type': 'ImageFolder', 'root': str(tmp_path / 'val')}, TRAIN)
    with pytest.raises(DataError) as error:
        first_batches(dataset, workers, number=2, batch_size=3)
    traceback.clear_frames(error.tb)  # left to the garbage collector, the worker ends 5 s later
    line = str(error.value).splitlines()[-1]
    assert f'{broken}: cannot be decoded' in line
    if workers == 0:
        assert line == str(error.value)


@pytest.mark.parametrize(
    ('pipeline', 'message'),
    [
        ([DECODE, CROP], 'must end with PackInputs'),
        ([DECODE, lambda results: None], 'must end with PackInputs'),
        ([PACK], r'n01.0.JPEG: PackInputs failed: no `img` to pack'),
        ([CROP, PACK], r"RandomResizedCrop failed: the sample has no 'img', which a step before"),
        ([DECODE, lambda results: {**results, 'gt_label': 3}, PACK], 'label 3, but .* 3 classes'),
        ([DECODE, lambda results: {**results, 'gt_label': [1, 2]}, PACK], 'must be one integer'),
    ],
)
def test_wrong_pipelines(tree, pipeline, message):
    dataset = SeededDataset({'type': 'ImageFolder', 'root': str(tree / 'val')}, pipeline)
    with pytest.raises(DataError, match=message) as error:
        dataset[0]
    assert 'n01/0.JPEG' in str(error.value)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match='list has not'):
        SeededDataset([1, 2], [PACK])
    with pytest.raises(ConfigError, match='pipeline is empty'):
        SeededDataset({'type': 'Digits'}, [])
