"""Whether two datasets mean the same by a label."""

from typing import Any

from mae.utils.errors import ConfigError


def check_classes(train: Any, val: Any) -> None:
    """Refuse to validate on classes that are numbered otherwise than in training.

    Args:
        train: dataset whose `metainfo`, if it has it, lists `classes` in the order of the labels.
        val: likewise; it may end earlier, where its last classes have no images.

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


def _classes(dataset: Any) -> tuple[str, ...]:
    return tuple(getattr(dataset, 'metainfo', {}).get('classes') or ())
