"""Dense batches on the device: normalised images, label maps and objects of each image.

Shapes: B images, C channels, H W pixels, N objects of an image.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mae.models.layers.shapes import check_shape
from mae.models.preprocessors.image import channel_statistics, normalise
from mae.registry import MODELS
from mae.utils.label_maps import check_map_labels

_OBJECTS = ('boxes', 'classes', 'crowd', 'areas')


@MODELS.register_module()
class DensePreprocessor(BaseDataPreprocessor):
    """Normalises images, and takes apart what `collate_dense` has laid end to end.

    Pixels of a border count as 0 after normalising, which is the mean of the images.

    Args:
        mean: of each channel, on the scale of 0..255.
        std: standard deviation of each channel.
        with_masks: False leaves the objects' masks packed and unused.

    Raises:
        ValueError: not one positive deviation a mean.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, with_masks: bool = True
    ) -> None:
        super().__init__(non_blocking=True)  # from pinned memory, without waiting for the device
        for name, values in zip(('mean', 'std'), channel_statistics(mean, std), strict=True):
            self.register_buffer(name, values, persistent=False)
        self.with_masks = with_masks
        self._labels: tuple[int, int] | None = None

    def limit_labels(self, num_classes: int, ignore_index: int) -> None:
        """From now on refuse training maps with labels that are neither a class nor ignored."""
        self._labels = (num_classes, ignore_index)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch.

        Args:
            data: from `collate_dense`.
            training: check the maps' labels, see `limit_labels`; maps that are on the device
                already are not checked.

        Returns:
            The batch on the device: `inputs` normalised float32 (B, C, H, W); with maps `maps`, a
            list of int64 (H, W); with objects `objects`, a list of dicts of `boxes` (N, 4),
            `classes`, `crowd`, `areas` (N,) and perhaps `masks` bool (N, H, W).

        Raises:
            ValueError: images that are not uint8 (B, C, H, W).
            DataError: labels beyond the limits.
        """
        check_shape('inputs', data['inputs'], 'B', 'C', 'H', 'W')
        if data['inputs'].dtype != torch.uint8:
            raise ValueError(f'inputs must be {torch.uint8}, 0 to 255, not {data["inputs"].dtype}')
        if training and self._labels is not None and 'maps' in data and data['maps'].is_cpu:
            hint = '; a dataset with `classes` names the file'
            check_map_labels(data['maps'], *self._labels, 'a batch', hint)
        sizes = {name: data[name].tolist() for name in _SIZES if name in data}  # read on the CPU
        batch: dict[str, Any] = self.cast_data(data)
        images = normalise(batch['inputs'], self.mean, self.std)
        for image, (height, width) in zip(images, sizes.get('shapes', ()), strict=False):
            image[:, height:] = 0
            image[:, :, width:] = 0
        batch['inputs'] = images
        if 'maps' in batch:
            batch['maps'] = split_maps(batch['maps'], sizes['map_sizes'])
        if 'counts' in batch:
            batch['objects'] = split_objects(batch, sizes['counts'])
            if self.with_masks and 'masks' in batch:
                masks = split_masks(batch['masks'], sizes['counts'], sizes['mask_sizes'])
                for things, some in zip(batch['objects'], masks, strict=True):
                    things['masks'] = some
        return batch


_SIZES = ('shapes', 'map_sizes', 'counts', 'mask_sizes')


def split_maps(maps: Tensor, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
    """The label maps of a batch, int64 (H, W) for each image."""
    parts = maps.split([height * width for height, width in sizes])
    return [part.view(*size).long() for part, size in zip(parts, sizes, strict=True)]


def split_objects(batch: Mapping[str, Tensor], counts: Sequence[int]) -> list[dict[str, Tensor]]:
    """The objects of each image: a dict of columns."""
    columns = {name: batch[name].split(list(counts)) for name in _OBJECTS}
    return [{name: columns[name][n] for name in _OBJECTS} for n in range(len(counts))]


def split_masks(
    masks: Tensor, counts: Sequence[int], sizes: Sequence[Sequence[int]]
) -> Iterator[Tensor]:
    """The masks of each image, bool (N, H, W), of packed ones end to end."""
    shapes = [
        (number, height, -(-width // 8))
        for number, (height, width) in zip(counts, sizes, strict=True)
    ]
    parts = masks.split([number * rows * columns for number, rows, columns in shapes])
    for part, shape, (_, width) in zip(parts, shapes, sizes, strict=True):
        yield unpack_bits(part.view(*shape), width)


def unpack_bits(packed: Tensor, width: int) -> Tensor:
    """uint8 (N, H, ceil(W / 8)) to bool (N, H, W), on any device."""
    bits = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    flat = (packed[..., None] >> bits) & 1  # N,H,W/8,8
    return flat.flatten(-2)[..., :width].bool()
