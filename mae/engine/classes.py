"""Checks that datasets and classifier agree about the classes."""

import logging

from mmengine.logging import print_log

from mae.utils.errors import ConfigError


def check_num_classes(num_classes: int, train: object) -> None:
    """Refuse a dataset with more classes than the classifier; warn if it has fewer.

    Args:
        num_classes: width of the classifier.
        train: dataset; its `metainfo`, if it has one, lists `classes`.

    Raises:
        ConfigError: the dataset has more classes.
    """
    found = len(_classes(train))
    line = f'train_dataloader.dataset has {found} classes, but model.head.num_classes={num_classes}'
    if found > num_classes:
        raise ConfigError(
            f'{line} takes labels 0..{num_classes - 1}; set model.head.num_classes={found}'
        )
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
                f'{len(known)} in train_dataloader.dataset; give both the same class folders, or '
                'the same `classes`'
            )


def _classes(dataset: object) -> tuple[str, ...]:
    return tuple(getattr(dataset, 'metainfo', {}).get('classes') or ())
