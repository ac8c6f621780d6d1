"""The end of a dense pipeline: an image with its label map, or with its objects.

Shapes: C channels, H W pixels, N objects.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.datasets.transforms.geometry import boxes_of
from mae.datasets.transforms.load_instances import rasterise
from mae.registry import TRANSFORMS

_LEAST = 1e-5  # pixels of a box's side


@TRANSFORMS.register_module()
class PackDense(Transform):
    """`img`, and `map` or `instances`, to a sample for `collate_dense`.

    Masks are rasterised here, and boxes are taken from them: a crop may have cut an object. An
    object of which nothing is left is dropped.
    """

    is_random = False
    keeps_size = True
    has_targets = True

    def transform(self, results: Results) -> Results:
        """A new dict.

        Returns:
            dict(inputs uint8 (C, H, W), label -1, shape int64 (2,): the part that is picture,
            original int64 (2,): the size of the file; `map` int16 (H, W), with `ignore_index` where
            it is known, or boxes float32 (N, 4),
            classes int64 (N,), crowd bool (N,), areas float64 (N,), and masks uint8
            (N, H, ceil(W / 8)), eight pixels a byte, with mask_size int64 (2,)).

        Raises:
            ValueError: no uint8 image, or neither map nor instances.
        """
        img = to_tensor(results['img'])
        size = tuple(img.shape[-2:])
        sample: dict[str, Any] = {
            'inputs': img,
            'label': -1,
            'shape': torch.tensor(results.get('shape', size)),
            'original': torch.tensor(results.get('original', size)),
        }
        if 'map' in results:
            sample['map'] = results['map'].to(torch.int16)
            if 'ignore_index' in results:
                sample['ignore_index'] = results['ignore_index']
        if 'instances' in results:
            sample |= pack_instances(results['instances'], tuple(sample['original'].tolist()))
        if 'map' not in sample and 'boxes' not in sample:
            raise ValueError('neither a label map nor instances: use LoadMap or LoadInstances')
        return sample


def pack_instances(instances: dict[str, Any], original: tuple[int, int]) -> dict[str, Tensor]:
    """Columns of the objects that are left, see `PackDense`."""
    names = ('boxes', 'classes', 'crowd', 'areas')
    columns = {name: instances[name] for name in names if name in instances}
    masks = instances.get('masks')
    if 'segmentations' in instances:
        masks = rasterise(instances['segmentations'], instances['placement'], original)
    keep = ((columns['boxes'][:, 2:] - columns['boxes'][:, :2]) > _LEAST).all(dim=1)
    if masks is not None:
        seen = masks.flatten(1).any(dim=1)
        # A box that reaches beyond its mask, as in the file, stays where the mask is whole.
        moved = 'placement' not in instances or instances['placement'].is_moved
        if moved:
            columns['boxes'] = columns['boxes'].clone()
            columns['boxes'][seen] = boxes_of(masks[seen])
        keep &= seen
        columns['masks'] = pack_bits(masks)
        columns['mask_size'] = torch.tensor(masks.shape[1:])
    columns.setdefault('crowd', torch.zeros(len(keep), dtype=torch.bool))
    if 'areas' not in columns:
        boxes = columns['boxes']
        sides = boxes[:, 2:] - boxes[:, :2]
        columns['areas'] = (
            sides.prod(1).double() if masks is None else masks.flatten(1).sum(1).double()
        )
    return {
        name: column if name == 'mask_size' else column[keep] for name, column in columns.items()
    }


def pack_bits(masks: Tensor) -> Tensor:
    """bool (N, H, W) to uint8 (N, H, ceil(W / 8)): an eighth of the memory on the way."""
    return torch.from_numpy(np.packbits(masks.numpy(), axis=-1))
