"""Checks that datasets and model agree about the classes."""

import logging

from mmengine.logging import print_log

from mae.utils.errors import ConfigError
from mae.utils.text import counted


def check_num_classes(num_classes: int, train: object, head: str = 'head') -> None:
    """Refuse a dataset with more classes than the model; warn if it has fewer.

    Args:
        num_classes: that the model tells apart.
        train: dataset; its `metainfo`, if it has one, lists `classes`.
        head: part of the model whose `num_classes` that is.

    Raises:
        ConfigError: the dataset has more classes.
    """
    found = len(_classes(train))
    key = f'model.{head}.num_classes'
    has = counted(found, 'class', 'classes')
    line = f'train_dataloader.dataset has {has}, but {key}={num_classes}'
    if found > num_classes:
        raise ConfigError(f'{line} takes labels 0..{num_classes - 1}; set {key}={found}')
    if 0 < found < num_classes:
        print_log(f'{line}: the rest is never trained', 'current', logging.WARNING)


def check_classes(train: object, val: object) -> None:
    """Refuse to validate on classes with other labels than in training.

    Args:
        train: dataset; its `metainfo`, if it has one, lists `classes` in the order of the labels.
        val: likewise; the last classes may be missing, if they have no images.

    Raises:
        ConfigError: names the first class that differs.
    """
    known, found = _classes(train), _classes(val)
    for label, name in enumerate(found if known else ()):
        there = repr(known[label]) if label < len(known) else 'none'
        if there != repr(name):
            raise ConfigError(
                f'val_dataloader.dataset: class {label} is {name!r}, but {there} of the '
                f'{len(known)} in train_dataloader.dataset; give both the same class folders or '
                'categories, or the same `classes`'
            )


def _classes(dataset: object) -> tuple[str, ...]:
    return tuple(getattr(dataset, 'metainfo', {}).get('classes') or ())
