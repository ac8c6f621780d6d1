"""The end of every pipeline: the results dict becomes a sample."""

import operator

from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackInputs(Transform):
    """`img` -> `inputs` uint8 (C, H, W), `gt_label` -> `label`; a sample without one gets -1."""

    is_random = False
    keeps_size = True

    def transform(self, results: Results) -> Results:
        """Returns a new dict: intermediate values of the transforms are not part of the sample.

        Raises:
            ValueError: no uint8 image, or a label that is not one integer.
        """
        if 'img' not in results:
            raise ValueError('no `img` to pack: the pipeline must begin with DecodeImage')
        return {'inputs': to_tensor(results['img']), 'label': to_label(results)}


def to_label(results: Results) -> int:
    """`gt_label`, or -1 without one.

    Raises:
        ValueError: it is not one integer; 3.7 would become 3.
    """
    label = results.get('gt_label', -1)
    try:
        return operator.index(label)
    except TypeError:
        raise ValueError(f'gt_label must be one integer, got {label!r}') from None
