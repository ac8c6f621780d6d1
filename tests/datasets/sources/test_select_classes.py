import numpy as np
import pytest
import torch

from mae.datasets import Digits, SeededDataset, SelectClasses, Subset
from mae.utils.errors import ConfigError, DataError


class Labels:
    """A source of given labels, whose samples know their number."""

    metainfo = {'classes': ('a', 'b', 'c', 'd'), 'other': 1}  # noqa: RUF012

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return {'number': index, 'gt_label': self.labels[index]}


def test_images_keep_their_order_and_labels_follow_the_list():
    found = SelectClasses(Labels([0, 1, 2, 3, 1, 3]), [3, 1])
    infos = [found.get_data_info(index) for index in range(len(found))]
    assert [(info['number'], info['gt_label']) for info in infos] == [
        (1, 1),
        (3, 0),
        (4, 1),
        (5, 0),
    ]
    assert found.get_gt_labels().tolist() == [1, 0, 1, 0]
    assert found.metainfo == {'classes': ('d', 'b'), 'other': 1}


@pytest.mark.parametrize('split', ['train', 'val'])
def test_two_halves_are_the_whole(split):
    whole = Digits(split)
    old, new = SelectClasses(whole, range(5)), SelectClasses(whole, range(5, 10))
    assert len(old) + len(new) == len(whole)
    counts = np.bincount(whole.get_gt_labels())
    assert np.bincount(old.get_gt_labels()).tolist() == counts[:5].tolist()
    assert np.bincount(new.get_gt_labels()).tolist() == counts[5:].tolist()
    assert new.metainfo['classes'] == tuple('56789')
    first = np.flatnonzero(np.array(whole.get_gt_labels()) >= 5)[0]
    assert torch.equal(new.get_data_info(0)['img'], whole.get_data_info(int(first))['img'])


def test_is_built_from_a_config_and_read_by_a_dataset():
    source = dict(type='SelectClasses', source=dict(type='Digits', split='val'), classes=[7, 8])
    few = dict(type='Subset', source=source, per_class=2)
    dataset = SeededDataset(few, [dict(type='PackInputs')])
    assert dataset.metainfo['classes'] == ('7', '8')
    assert sorted(sample['label'] for sample in dataset.__getitems__(range(4))) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ('classes', 'told'),
    [
        ([], r'got \[\]'),
        ([1, 1], r'got \[1, 1\]'),
        ([1, 4, -1], r'no image of \[4, -1\]'),
        ([2], r'no image of \[2\]'),
    ],
)
def test_impossible_classes(classes, told):
    with pytest.raises(ConfigError, match=rf'^SelectClasses\.classes .* labels 0 to 3, .*{told}$'):
        SelectClasses(Labels([0, 1, 3]), classes)


def test_source_without_labels():
    with pytest.raises(DataError, match=r'^SelectClasses: Labels has images without a label'):
        SelectClasses(Labels([0, -1]), [0])


def test_subset_of_a_selection_counts_the_new_labels():
    found = Subset(SelectClasses(Labels([0, 3, 3, 3, 1, 1]), [3, 1]), per_class=1)
    assert found.get_gt_labels().tolist() == [0, 1]
