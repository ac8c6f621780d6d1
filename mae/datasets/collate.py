"""Samples to a batch: the only shape in which data reaches a model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from mae.datasets.transforms.pack import COLUMNS
from mae.registry import FUNCTIONS
from mae.utils.errors import DataError


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """dict(inputs uint8 (B, C, H, W), labels (B,), ids (B,), keys (B,)), the latter int64.

    In memory the channels of `inputs` are last, as a decoder writes them and a patch wants them, so
    that nothing on the way rearranges pixels. Samples of `EncodedCrop` give `encoded`, all files
    end to end, with their `sizes` and `crops`, instead of `inputs`. If samples were replaced, `bad`
    lists what was wrong with those that they stand for. If the samples have a `group` or a
    `file_number`, the batch has `groups` or `file_numbers`, int64 (B,).

    Raises:
        DataError: the images differ in shape.
    """
    inputs = [sample['inputs'] for sample in samples]
    facts: dict[str, Any] = {f'{name}s': _column(samples, name) for name in ('label', 'id', 'key')}
    optional = (name for name in COLUMNS if name in samples[0])
    facts |= {f'{name}s': _column(samples, name) for name in optional}
    if bad := [sample['bad'] for sample in samples if 'bad' in sample]:
        facts['bad'] = bad
    if 'crop' in samples[0]:
        sizes = torch.tensor([len(content) for content in inputs])
        crops = _column(samples, 'crop')
        return {'encoded': torch.cat(inputs), 'sizes': sizes, 'crops': crops, **facts}
    _require_one_shape(inputs)
    channels_last = [image.permute(1, 2, 0) for image in inputs]
    return {
        # In a worker it stacks straight into shared memory.
        'inputs': default_collate(channels_last).permute(0, 3, 1, 2),
        **facts,
    }


def _require_one_shape(images: Sequence[Tensor]) -> None:
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) == 1:
        return
    told = f'images of one batch differ in shape, for example {shapes[0]} and {shapes[-1]}'
    if len({shape[0] for shape in shapes}) > 1:
        raise DataError(
            f'{told} (C, H, W): begin dataset.pipeline with DecodeImage, whose channels=1 makes '
            'all grey and channels=3 all RGB; it must be the in_channels of model.encoder'
        )
    raise DataError(f'{told} (C, H, W): end dataset.pipeline with a crop of fixed size')


def _column(samples: Sequence[dict[str, Any]], name: str) -> Tensor:
    return torch.tensor([sample[name] for sample in samples], dtype=torch.int64)


FUNCTIONS.register_module(module=collate)
