"""Samples to a batch: the only shape in which data reaches a model.

Shapes: B images, C channels, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from mae.registry import FUNCTIONS
from mae.utils.errors import DataError

# Optional integers of a sample; a batch has them as `groups` and `file_numbers`.
COLUMNS = ('group', 'file_number')


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """dict(inputs (B, C, H, W), labels, ids, keys int64 (B,)), and `bad` of replaced samples.

    `inputs` are uint8, or uint16 where the pipeline keeps 16 bits. In memory their channels come
    last, as a decoder writes them and a patch reads them, so that nothing on the way rearranges
    pixels.

    Raises:
        DataError: the images differ in shape or type, or are not (C, H, W).
    """
    images = [sample['inputs'] for sample in samples]
    _require_one_shape(images)
    channels_last = [image.permute(1, 2, 0) for image in images]
    return {
        # In a worker it stacks straight into shared memory.
        'inputs': default_collate(channels_last).permute(0, 3, 1, 2),
        **collate_facts(samples),
    }


def collate_facts(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All of a batch but the images: `labels`, `ids` and `keys`, int64 (B,).

    Samples with a `group` or a `file_number` give `groups` or `file_numbers` too. If samples were
    replaced, `bad` lists what was wrong with the ones they replace.
    """
    facts: dict[str, Any] = {f'{name}s': column(samples, name) for name in ('label', 'id', 'key')}
    optional = (name for name in COLUMNS if name in samples[0])
    facts |= {f'{name}s': column(samples, name) for name in optional}
    bad = [sample['bad'] for sample in samples if 'bad' in sample]
    return {**facts, 'bad': bad} if bad else facts


def column(samples: Sequence[dict[str, Any]], name: str) -> Tensor:
    """An entry of each sample, a number or a list of N: int64 (B,) or (B, N)."""
    return torch.tensor([sample[name] for sample in samples], dtype=torch.int64)


def _require_one_shape(images: Sequence[Tensor]) -> None:
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes[0]) != 3:
        raise DataError(
            f'`collate` stacks images (C, H, W), but the pipeline gives inputs of shape '
            f'{shapes[0]}: end dataset.pipeline with PackInputs, or name the collate function of '
            'its last transform as collate_fn'
        )
    if len({image.dtype for image in images}) > 1:
        raise DataError(
            'images of one batch have 8 and 16 bits: begin dataset.pipeline with DecodeImage, '
            'whose bits=8 or bits=16 is for all'
        )
    if len(shapes) == 1:
        return
    message = f'images of one batch differ in shape, for example {shapes[0]} and {shapes[-1]}'
    if len({shape[0] for shape in shapes}) > 1:
        raise DataError(
            f'{message} (C, H, W): begin dataset.pipeline with DecodeImage, whose channels=1 makes '
            'all grey and channels=3 all RGB; it must be the in_channels of model.encoder'
        )
    raise DataError(f'{message} (C, H, W): end dataset.pipeline with a crop of fixed size')


FUNCTIONS.register_module(module=collate)
