"""Samples with label maps or objects to a batch of tensors, as `collate` does for labels.

What has one shape is stacked; what differs from image to image is laid end to end, with the numbers
that take it apart again. Tensors alone travel through shared memory and pinned copies.

Shapes: B images, C channels, H W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

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


def split_maps(batch: Mapping[str, Any]) -> list[Tensor]:
    """The label maps of a batch, a view (H, W) for each image."""
    sizes = batch['map_sizes'].tolist()
    parts = batch['maps'].split([height * width for height, width in sizes])
    return [part.view(*size) for part, size in zip(parts, sizes, strict=True)]


def split_objects(batch: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """The objects of each image, without their masks: a dict of columns."""
    counts = batch['counts'].tolist()
    columns = {name: batch[name].split(counts) for name in _OBJECTS}
    return [{name: columns[name][n] for name in _OBJECTS} for n in range(len(counts))]


def split_masks(batch: Mapping[str, Any]) -> Iterator[Tensor]:
    """The packed masks of each image, uint8 (N, H, ceil(W / 8)), see `PackDense`."""
    shapes = [
        (number, height, -(-width // 8))
        for number, (height, width) in zip(
            batch['counts'].tolist(), batch['mask_sizes'].tolist(), strict=True
        )
    ]
    parts = batch['masks'].split([number * rows * columns for number, rows, columns in shapes])
    for part, shape in zip(parts, shapes, strict=True):
        yield part.view(*shape)
