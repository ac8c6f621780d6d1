"""Labels that are right pass; shifted, permuted and misplaced ones are found."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mae.datasets import ImageFolder
from mae.doctor.labels import (
    judge_agreement,
    judge_folders,
    judge_range,
    judge_shift,
    right_among_others,
    right_by_shift,
)


def names(findings):
    return [finding.name for finding in findings]


@pytest.mark.parametrize(
    ('labels', 'found'),
    [
        ([0, 1, 2], []),
        ([0, 1, 1], []),  # a class without images
        ([1, 2, 3], ['labels_shifted']),
        ([1, 2, 2], ['labels_shifted']),
        ([0, 1, 3], ['labels_shifted']),
        ([-1, 0, 1], ['labels_shifted']),
    ],
)
def test_the_range_of_labels(labels, found):
    assert names(judge_range(np.array(labels), 3)) == found


def test_labels_against_the_names_of_folders(photos):
    source = ImageFolder(str(photos))
    labels = source.get_gt_labels()
    assert judge_folders(source, labels) == []
    (found,) = judge_folders(source, (labels + 1) % 3)
    assert found.name == 'labels_misplaced'
    assert 'ant0.png has label 1, ant is 0' in found.what
    few = labels.copy()
    few[0] = 2  # 1 of 30
    assert judge_folders(source, few) == []


def pictures(number, classes, seed, spread=0.5):
    """Pictures around a centre for each class, of length 1, and their labels."""
    centres = torch.randn(classes, 20, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(number) % classes
    draw = torch.Generator().manual_seed(seed)
    found = centres[labels] + spread * torch.randn(number, 20, generator=draw)
    return F.normalize(found, dim=1), labels


def test_labels_that_go_with_the_images():
    images, labels = pictures(200, 5, seed=1)
    right, number = right_among_others(images, labels)
    assert number == 200
    assert right > 180
    assert judge_agreement(right, number, 5) == []


@pytest.mark.parametrize('seed', range(5))
def test_permuted_labels_are_at_chance(seed):
    images, labels = pictures(200, 5, seed=1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    right, number = right_among_others(images, labels[order])
    assert names(judge_agreement(right, number, 5)) == ['labels_at_chance']


@pytest.mark.parametrize('shift', [0, 1, -1, 2])
def test_validation_labels_that_are_shifted(shift):
    bank, labels = pictures(200, 5, seed=1)
    queries, val_labels = pictures(100, 5, seed=2)
    right, number = right_by_shift(bank, labels, queries, val_labels + shift)
    found = judge_shift(right, number, 5)
    assert names(found) == ['labels_shifted'] * bool(shift)
    if shift:
        assert f'with {-shift:+d} added' in found[0].what


def test_without_validation_images_nothing_is_judged():
    bank, labels = pictures(20, 2, seed=1)
    assert judge_shift(*right_by_shift(bank, labels, bank[:0], labels[:0]), 2) == []
