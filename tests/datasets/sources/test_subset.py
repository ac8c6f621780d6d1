import numpy as np
import pytest
import torch

from mae.datasets import Digits, ImageFolder, SeededDataset, Subset
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError


class Labels:
    """A source of given labels, whose samples know their number."""

    metainfo = {'classes': ('a', 'b', 'c')}  # noqa: RUF012

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return {'number': index, 'gt_label': self.labels[index]}


def numbers(subset):
    return [subset.get_data_info(index)['number'] for index in range(len(subset))]


def counts(subset):
    return torch.as_tensor(subset.get_gt_labels()).bincount().tolist()


LABELS = np.random.default_rng(0).permutation([0] * 600 + [1] * 250 + [2] * 40).tolist()
FIRST = [583, 624, 625]


def test_few_of_each_class_in_the_order_of_the_source():
    subset = Subset(Labels(LABELS), per_class=10)
    assert counts(subset) == [10, 10, 10]
    assert numbers(subset) == sorted(set(numbers(subset)))
    labels = [subset.get_data_info(index)['gt_label'] for index in range(30)]
    assert labels == subset.get_gt_labels().tolist()
    assert subset.metainfo == {'classes': ('a', 'b', 'c')}


@pytest.mark.parametrize(
    ('fraction', 'expected'),
    [(0.01, [6, 2, 1]), (0.1, [60, 25, 4]), (0.0001, [1, 1, 1]), (1.0, [600, 250, 40])],
)
def test_the_same_share_of_each_class_and_at_least_one_image(fraction, expected):
    assert counts(Subset(Labels(LABELS), fraction=fraction)) == expected


def test_shares_are_of_whole_numbers():
    """Half an image goes to the even number; in floats 45 x .7 is 31.499999999999996."""
    assert counts(Subset(Labels([0] * 45), fraction=0.7)) == [32]
    assert counts(Subset(Labels([0] * 150), fraction=0.07)) == [10]


def test_the_choice_follows_the_seed():
    lists = [numbers(Subset(Labels(LABELS), per_class=20, seed=seed)) for seed in (0, 0, 1)]
    assert lists[0] == lists[1]
    assert len({*lists[0]} & {*lists[2]}) < 30
    # Written down: the lists of a released result must not change.
    assert numbers(Subset(Labels(LABELS), per_class=1)) == FIRST


def test_smaller_choices_lie_in_larger_ones():
    source = Labels(LABELS)
    nested = [Subset(source, fraction=share) for share in (0.01, 0.1, 0.5)]
    nested += [Subset(source, per_class=40)]
    chosen = [set(numbers(subset)) for subset in nested]
    assert chosen[0] < chosen[1] < chosen[2]
    assert set(numbers(Subset(source, per_class=5))) < chosen[3]


def test_any_image_of_a_class_may_be_chosen():
    seen = {n for s in range(60) for n in numbers(Subset(Labels(LABELS), per_class=10, seed=s))}
    assert {n for n, label in enumerate(LABELS) if label == 2} <= seen


def test_a_class_without_images_is_left_out():
    assert counts(Subset(Labels([0, 0, 2, 2]), per_class=1)) == [1, 0, 1]


def test_digits():
    subset = Subset(Digits(img_size=8), per_class=10)
    assert counts(subset) == [10] * 10
    whole = {
        image['img'].numpy().tobytes()
        for image in map(Digits(img_size=8).get_data_info, range(1437))
    }
    for index in range(len(subset)):
        assert subset.get_data_info(index)['img'].numpy().tobytes() in whole


def test_image_folder(tree):
    folder = ImageFolder(str(tree), 'train')
    subset = Subset(folder, fraction=0.25)
    assert counts(subset) == [2, 2, 2]
    paths = {folder.get_data_info(index)['img_path'] for index in range(len(folder))}
    assert {subset.get_data_info(index)['img_path'] for index in range(6)} < paths


def test_datasets_of_mmpretrain(tree):
    source = dict(type='mmpretrain.CustomDataset', data_root=str(tree / 'train'))
    dataset = SeededDataset(
        dict(type='Subset', source=source, per_class=3),
        [dict(type='DecodeImage'), dict(type='RandomResizedCrop', size=8), dict(type='PackInputs')],
    )
    assert dataset.metainfo['classes'] == ('n01', 'n02', 'n03')
    samples = dataset.__getitems__(list(range(9)))
    assert sorted(sample['label'] for sample in samples) == [0] * 3 + [1] * 3 + [2] * 3
    assert DATASETS.get('Subset') is Subset


def test_subset_of_a_subset():
    inner = Subset(Labels(LABELS), fraction=0.5)
    assert counts(Subset(inner, per_class=3)) == [3, 3, 3]
    assert set(numbers(Subset(inner, per_class=3))) < set(numbers(inner))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({}, r'^Subset needs either per_class or fraction$'),
        ({'per_class': 1, 'fraction': 0.5}, r'^Subset needs either per_class or fraction$'),
        ({'fraction': 0.0}, r'^Subset: fraction must lie in \(0, 1\], got 0\.0$'),
        ({'fraction': 1.5}, r'^Subset: fraction must lie in \(0, 1\], got 1\.5$'),
        ({'per_class': 0}, r'^Subset: per_class=0 .* 1\.\.600, .*class 0$'),
        ({'per_class': 41}, r'^Subset: per_class=41 .* 1\.\.40, .*class 2$'),
    ],
)
def test_impossible_choices(options, message):
    with pytest.raises(ConfigError, match=message):
        Subset(Labels(LABELS), **options)


@pytest.mark.parametrize('labels', [[], [0, -1]])
def test_sources_without_labels(labels):
    with pytest.raises(DataError, match=r'^Subset: Labels [^\n]* without a label[^\n]*$'):
        Subset(Labels(labels), per_class=1)


def test_others_are_the_rest():
    labels = [0, 0, 0, 1, 1, 1, 1]
    chosen, rest = (Subset(Labels(labels), fraction=0.5, others=o) for o in (False, True))
    assert sorted([*chosen._indices.tolist(), *rest._indices.tolist()]) == list(range(7))
    assert rest.get_gt_labels().bincount().tolist() == [1, 2]
    with pytest.raises(DataError, match='no images are left'):
        Subset(Labels(labels), fraction=1.0, others=True)


def test_a_long_tail_falls_by_the_same_factor_from_class_to_class():
    """Long-tailed CIFAR-10 of imbalance 100, as its authors' code counts it, but rounded."""
    labels = np.random.default_rng(0).permutation(np.repeat(range(10), 5000)).tolist()
    long_tail = Subset(Labels(labels), fraction=1.0, imbalance=100)
    assert counts(long_tail) == [5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50]
    assert counts(Subset(Labels(LABELS), per_class=40, imbalance=4)) == [40, 20, 10]
    assert counts(Subset(Labels(LABELS), per_class=2, imbalance=100)) == [2, 1, 1]
    assert counts(Subset(Labels([0] * 5), fraction=1.0, imbalance=10)) == [5]


def test_a_long_tail_is_part_of_the_whole_choice_and_follows_the_seed():
    whole = set(numbers(Subset(Labels(LABELS), per_class=40)))
    tails = [numbers(Subset(Labels(LABELS), per_class=40, imbalance=4, seed=s)) for s in (0, 0, 1)]
    assert set(tails[0]) < whole
    assert tails[0] == tails[1] != tails[2]


@pytest.mark.parametrize('imbalance', [0.5, 0, -1, float('inf'), float('nan')])
def test_impossible_imbalance(imbalance):
    with pytest.raises(ConfigError, match=r'^Subset: imbalance must be at least 1 and finite, got'):
        Subset(Labels(LABELS), fraction=1.0, imbalance=imbalance)
