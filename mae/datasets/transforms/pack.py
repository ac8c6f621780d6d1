"""The end of every pipeline: the results dict becomes a sample."""

import operator
from typing import Any

from mae.datasets.collate import COLUMNS
from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackInputs(Transform):
    """`img` -> `inputs` uint8 or uint16 (C, H, W), `gt_label` -> `label`.

    A sample without a label gets -1. The integers `group` and `file_number` are passed on if the
    source gives them.
    """

    is_random = False
    keeps_size = True

    def transform(self, results: Results) -> Results:
        """Returns a new dict: intermediate values of the transforms are not part of the sample.

        Raises:
            ValueError: no image, or a label, group or file number that is not one integer.
        """
        if 'img' not in results:
            raise ValueError('no `img` to pack: the pipeline must begin with DecodeImage')
        sample = {'inputs': to_tensor(results['img'], bits=None), 'label': to_label(results)}
        for name in COLUMNS:
            if name in results:
                sample[name] = to_integer(name, results[name])
        return sample


def to_label(results: Results) -> int:
    """`gt_label`, or -1 without one.

    Raises:
        ValueError: it is not one integer.
    """
    return to_integer('gt_label', results.get('gt_label', -1))


def to_integer(name: str, value: Any) -> int:
    """The value of a key as an int.

    Raises:
        ValueError: it is not one integer; 3.7 would become 3.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f'{name} must be one integer, got {value!r}') from None
