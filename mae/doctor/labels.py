"""Whether labels go with the images: by the folders' names, and by how alike images of a class are.

What it can find: labels beyond the head's classes or numbered from 1, a list that contradicts the
names of the class folders, labels that have nothing to do with the images, and a validation set
numbered otherwise than the training set. What it cannot: names that are wrong in the same way in
both sets, and classes that small pictures do not tell apart.

Shapes: N images, D values of a picture.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mae.datasets.sources.wrapped import labels_of
from mae.datasets.transforms import DecodeImage
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.evaluation.knn import knn_scores
from mae.utils.errors import DataError
from mae.utils.ratio import evenly_spaced

Labels = NDArray[np.int64]
CLASSES = 10  # neighbouring numbers, so that a shift by one stays among them
_EACH = 30  # images of a class
_FEWEST = 8
_SIDE = 12  # of a picture, in pixels
_NEIGHBOURS = 5
_FOLDS = 5
_SIGMAS = 3.0  # above chance
_MOST_LABELS = 2_000_000  # that are read
_MOST_FOLDERS = 2000  # images whose folders are looked at
_SHIFTS = (-2, -1, 1, 2)
_MUCH = 1.5  # times as many right under a shift as without
_MISPLACED = 0.05
_VAL = 'val_dataloader.dataset.source'


def examine_labels(
    dataset: Any, val_dataset: Any | None, num_classes: int, decode: DecodeImage
) -> ExaminedPart:
    """Compare labels with folders, with images, and with those of the validation data.

    Args:
        dataset: a `SeededDataset`.
        val_dataset: likewise, or None.
        num_classes: of the head.
        decode: with the channels and bits of the run.
    """
    if len(dataset.source) > _MOST_LABELS:
        return ExaminedPart('labels', [f'not examined: more than {_MOST_LABELS:,} images'])
    labels = labels_of(dataset.source)
    findings = [*judge_range(labels, num_classes), *judge_folders(dataset.source, labels)]
    lines = [f'{len(np.unique(labels)):,} of {num_classes:,} classes have images']
    chosen = _choose(labels)
    facts: dict[str, Any] = {'classes': len(np.unique(labels))}
    if len(chosen) < 2:
        lines.append(f'not compared with the images: no two classes of {_FEWEST} images or more')
        return ExaminedPart('labels', lines, findings, facts)
    bank, bank_labels = _pictures(dataset.source, labels, chosen, decode)
    right, number = right_among_others(bank, bank_labels)
    chance = 1 / len(chosen)
    lines.append(
        f'{right / number:.0%} of {number} small pictures are most like one of their class; '
        f'chance is {chance:.0%}'
    )
    facts |= {'nearest_right': right / number, 'chance': chance}
    findings += judge_agreement(right, number, len(chosen))
    if val_dataset is not None:
        val_labels = labels_of(val_dataset.source)
        findings += judge_folders(val_dataset.source, val_labels, _VAL)
        val = _pictures(val_dataset.source, val_labels, chosen, decode)
        findings += judge_shift(*right_by_shift(bank, bank_labels, *val), len(chosen))
    return ExaminedPart('labels', lines, findings, facts)


def judge_range(labels: Labels, num_classes: int) -> list[FoundFault]:
    """Labels that are numbered from 1, or that the head has no class for."""
    low, high = int(labels.min()), int(labels.max())
    if low == 1 and high >= num_classes - 1 and num_classes > 1:
        what = f'labels run from 1 to {high}, and the head has classes 0 to {num_classes - 1}'
    elif high >= num_classes or low < 0:
        what = f'labels run from {low} to {high}, and the head has classes 0 to {num_classes - 1}'
    else:
        return []
    return [FoundFault('labels_shifted', what)]


def judge_folders(source: Any, labels: Labels, where: str = '') -> list[FoundFault]:
    """Images whose label is not the number of the class that their folder is named after.

    Args:
        source: of the images.
        labels: (N,), theirs.
        where: config key of the source; '' is that of training.
    """
    classes = list(getattr(source, 'metainfo', {}).get('classes') or ())
    numbers = {str(name): number for number, name in enumerate(classes)}
    wrong, seen, example = 0, 0, ''
    for index in evenly_spaced(len(labels), _MOST_FOLDERS):
        path = Path(str(source.get_data_info(index).get('img_path', '')))
        named = next((numbers[part.name] for part in path.parents if part.name in numbers), None)
        if named is None:
            continue
        seen += 1
        if named != labels[index]:
            wrong += 1
            example = example or f'{path} has label {labels[index]}, {classes[named]} is {named}'
    if not seen or wrong <= _MISPLACED * seen:
        return []
    return [
        FoundFault('labels_misplaced', f'{wrong} of {seen} that were looked at: {example}', where)
    ]


def _choose(labels: Labels) -> list[int]:
    """Neighbouring classes that have images enough."""
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    fit = [int(n) for n, count in zip(numbers, counts, strict=True) if count >= _FEWEST]
    return fit[:CLASSES]


def _pictures(
    source: Any, labels: Labels, chosen: Sequence[int], decode: DecodeImage
) -> tuple[Tensor, Tensor]:
    """Small pictures (N, D) of the chosen classes, of length 1, and their labels (N,)."""
    pictures, found = [], []
    for label in chosen:
        members = np.flatnonzero(labels == label)
        for index in members[evenly_spaced(len(members), _EACH)]:
            try:
                pixels = decode.transform(source.get_data_info(int(index)))['img']
            except (DataError, ValueError):  # the part on data tells of it
                continue
            pictures.append(_small(pixels))
            found.append(label)
    empty = torch.zeros(0, decode.channels * _SIDE * _SIDE)
    stacked = torch.stack(pictures) if pictures else empty
    return F.normalize(stacked, dim=1), torch.tensor(found, dtype=torch.int64)


def _small(pixels: Tensor) -> Tensor:
    image = pixels[None].float()
    small = F.interpolate(image, (_SIDE, _SIDE), mode='bilinear', antialias=True)
    flat = small.flatten()
    return flat - flat.mean()


def _votes(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> Tensor:
    num_classes = int(labels.max()) + 1
    return knn_scores(queries, bank, labels, num_classes=num_classes, k=k).argmax(1)


def right_among_others(pictures: Tensor, labels: Tensor) -> tuple[int, int]:
    """How many of all pictures have the label that their nearest others vote for.

    Args:
        pictures: (N, D), of length 1.
        labels: (N,).
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    right, parts = 0, order % _FOLDS
    for part in range(_FOLDS):
        own, others = parts == part, parts != part
        voted = _votes(pictures[own], pictures[others], labels[others], _NEIGHBOURS)
        right += int((voted == labels[own]).sum())
    return right, len(labels)


def judge_agreement(right: int, number: int, classes: int) -> list[FoundFault]:
    """Labels that images say nothing about, within what chance allows.

    Args:
        right: pictures whose nearest others have their label.
        number: of all.
        classes: among which they are.
    """
    chance = 1 / classes
    limit = number * chance + _SIGMAS * math.sqrt(number * chance * (1 - chance))
    if right > limit:
        return []
    what = (
        f'{right / number:.0%} of {number} small pictures are most like one of their class, of '
        f'{classes} classes: no more than chance'
    )
    return [FoundFault('labels_at_chance', what)]


def right_by_shift(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor
) -> tuple[dict[int, int], int]:
    """How many validation labels agree with the training data, by a number added to them."""
    if not len(labels):
        return {}, 0
    voted = _votes(queries, bank, bank_labels, _NEIGHBOURS)
    return {s: int((voted == labels + s).sum()) for s in (0, *_SHIFTS)}, len(labels)


def judge_shift(right: dict[int, int], number: int, classes: int) -> list[FoundFault]:
    """Validation labels that agree much better with the training data when they are shifted."""
    if not number:
        return []
    best = max(right, key=lambda shift: right[shift])
    margin = _SIGMAS * math.sqrt(number / classes)
    if not best or right[best] < _MUCH * right[0] or right[best] < number / classes + margin:
        return []
    what = (
        f'{right[0] / number:.0%} of {number} validation images are most like training images of '
        f'their label, and {right[best] / number:.0%} with {best:+d} added to it'
    )
    return [FoundFault('labels_shifted', what, _VAL)]
