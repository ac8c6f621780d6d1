"""Samples with label maps or objects to a batch of tensors, as `collate` does for labels.

What has one shape is stacked; what differs from image to image is laid end to end, with the numbers
that take it apart again. Tensors alone travel through shared memory and pinned copies.

Shapes: B images, C channels, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch

from mae.datasets.collate import collate
from mae.registry import FUNCTIONS

_OBJECTS = ('boxes', 'classes', 'crowd', 'areas')


@FUNCTIONS.register_module()
def collate_dense(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `collate` gives, and the maps or objects of `PackDense`.

    Returns:
        `inputs`, `labels`, `ids` and `keys`; `shapes` and `originals` int64 (B, 2). With maps:
        `maps` int16, those of all images flat and end to end, and `map_sizes` int64 (B, 2). With
        objects: `boxes`, `classes`, `crowd` and `areas` of all images, `counts` int64 (B,), and
        perhaps `masks` uint8, flat, with `mask_sizes` int64 (B, 2).

    Raises:
        DataError: the images differ in shape.
    """
    batch = collate(samples)
    batch['shapes'] = torch.stack([sample['shape'] for sample in samples])
    batch['originals'] = torch.stack([sample['original'] for sample in samples])
    if 'map' in samples[0]:
        batch['maps'] = torch.cat([sample['map'].flatten() for sample in samples])
        batch['map_sizes'] = torch.tensor([tuple(sample['map'].shape) for sample in samples])
    if 'boxes' in samples[0]:
        for name in _OBJECTS:
            batch[name] = torch.cat([sample[name] for sample in samples])
        batch['counts'] = torch.tensor([len(sample['boxes']) for sample in samples])
        if 'masks' in samples[0]:
            batch['masks'] = torch.cat([sample['masks'].flatten() for sample in samples])
            batch['mask_sizes'] = torch.stack([sample['mask_size'] for sample in samples])
    return batch
