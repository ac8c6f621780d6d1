import multiprocessing
import os
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mae.datasets import (
    Digits,
    Groups,
    ImageFolder,
    SeededDataset,
    collate,
    read_quarantine,
    transforms,
)
from mae.utils.errors import ConfigError

FOLDER = dict(type='ImageFolder', index_cache=False)


@pytest.fixture
def groups(tree):
    """24 and 6 images of three classes."""
    return Groups(
        {split: {**FOLDER, 'root': str(tree), 'split': split} for split in ('train', 'val')}
    )


def test_one_after_the_other(groups, tree):
    assert len(groups) == 30
    assert groups.metainfo == {'groups': ('train', 'val'), 'classes': ('n01', 'n02', 'n03')}
    parts = [ImageFolder(str(tree), split) for split in ('train', 'val')]
    expected = [
        {**part.get_data_info(index), 'group': group}
        for group, part in enumerate(parts)
        for index in range(len(part))
    ]
    assert [groups.get_data_info(index) for index in range(30)] == expected
    assert groups.get_data_info(-1) == expected[-1]
    with pytest.raises(IndexError):
        groups.get_data_info(30)
    assert groups.get_gt_labels().tolist() == [info['gt_label'] for info in expected]


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_workers(groups, start):
    steps = [transforms.DecodeImage(), transforms.CenterCrop(32), transforms.PackInputs()]
    loader = DataLoader(
        SeededDataset(groups, steps),
        batch_size=8,
        num_workers=1,
        collate_fn=collate,
        multiprocessing_context=multiprocessing.get_context(start),
    )
    batches = list(loader)
    assert torch.cat([batch['groups'] for batch in batches]).tolist() == [0] * 24 + [1] * 6
    labels = torch.cat([batch['labels'] for batch in batches])
    assert labels.tolist() == groups.get_gt_labels().tolist()


def test_quarantine_excludes_by_path(groups, tree, tmp_path):
    listed = tmp_path / 'bad.txt'
    listed.write_text('val/n02/0.JPEG\n')
    assert len(read_quarantine(listed)) == 1
    dataset = SeededDataset(groups, [transforms.PackInputs()], quarantine=str(listed))
    assert len(dataset) == 29
    assert dataset.metainfo['groups'] == ('train', 'val')
    names = {dataset.name(index) for index in range(29)}
    assert os.path.join(tree, 'val/n02/0.JPEG') not in names


def test_groups_with_classes_of_their_own(tree):
    groups = Groups({'digits': Digits(img_size=8), 'tree': ImageFolder(str(tree), 'val')})
    assert groups.metainfo == {'groups': ('digits', 'tree')}
    assert groups.get_data_info(1437)['group'] == 1
    assert len(groups.get_gt_labels()) == 1443


class Unlabelled:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def get_data_info(self, index):
        return {'img_path': str(range(self.size)[index])}


def test_sources_without_labels():
    groups = Groups({'a': Unlabelled(2), 'b': Unlabelled(3)})
    assert np.array_equal(groups.get_gt_labels(), [-1] * 5)
    assert [groups.get_data_info(n)['img_path'] for n in range(5)] == ['0', '1', '0', '1', '2']


@pytest.mark.parametrize(
    ('sources', 'message'),
    [
        (dict, r'^Groups\.sources is empty'),
        (partial(dict, a=Unlabelled(0)), r'^Groups\.sources\.a: a Unlabelled .* or empty$'),
        (partial(dict, a=[1, 2]), r'^Groups\.sources\.a: a list without get_data_info'),
    ],
)
def test_no_sources(sources, message):
    with pytest.raises(ConfigError, match=message):
        Groups(sources())
