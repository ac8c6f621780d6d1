"""Mean and deviation of images in grey levels (0..255), from the units of other libraries."""

from collections.abc import Mapping
from typing import Any

GREY_LEVELS = 255


def in_grey_levels(mean: Any, std: Any, unit: float) -> dict[str, list[float]]:
    """`mean` and `std`, a number for each channel or one for all; empty if one is not stated.

    Args:
        mean: a number, one for each channel, or None.
        std: a number, one for each channel, or None.
        unit: grey levels per unit of theirs: 255 where images are scaled to 0..1.

    Raises:
        TypeError: they are no numbers.
    """
    if mean is None or std is None:
        return {}
    found = {}
    for name, values in (('mean', mean), ('std', std)):
        values = [values] if isinstance(values, int | float) else values
        found[name] = [unit * value for value in values]
    return found


def levels_of_processor(processor: Mapping[str, Any]) -> dict[str, list[float]]:
    """`mean` and `std` in grey levels of an image processor of transformers.

    Args:
        processor: the content of its `preprocessor_config.json`.

    Raises:
        ArithmeticError: images are rescaled by 0.
        TypeError: what should be numbers is none.
    """
    factor = processor.get('rescale_factor', 1 / GREY_LEVELS)
    unit = 1 / factor if processor.get('do_rescale', True) else 1.0
    if not processor.get('do_normalize', True):
        return in_grey_levels(0.0, 1.0, unit)
    return in_grey_levels(processor.get('image_mean'), processor.get('image_std'), unit)
