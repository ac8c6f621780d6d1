"""From a collated batch to the arguments of a model: on the device, float, normalised, mixed.

Shapes: B images, C channels, H W pixels, N classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mae.models.layers.shapes import check_shape
from mae.models.preprocessors.augment import Erase, Mix
from mae.registry import MODELS
from mae.utils.text import counted

_LEVEL = 257.0  # values of 16 bits in a grey level: white is 65,535 and 255


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Normalises images; in training also mixes and erases them, if configured.

    Args:
        mean: mean of each channel in grey levels, 0..255; those of 16 bits are fractions.
        std: standard deviation of each channel in grey levels.
        mixup: arguments of timm's `Mixup` (mixup and cutmix with soft targets), or None. Its
            `num_classes` are those of the head.
        erase: arguments of timm's `RandomErasing`, or None.

    Raises:
        ValueError: `mean` and `std` differ in length, or a deviation is not positive.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        mixup: Mapping[str, Any] | None = None,
        erase: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(non_blocking=True)  # from pinned memory, without waiting for the device
        for name, values in zip(('mean', 'std'), channel_statistics(mean, std), strict=True):
            self.register_buffer(name, values, persistent=False)
        self.mix = Mix(**mixup) if mixup else None
        self.erase = Erase(**erase) if erase else None
        self._num_classes: int | None = None
        self._shrink: Shrink | None = None

    @property
    def _needed(self) -> tuple[str, ...]:
        """Names of what training needs in a batch beside the images."""
        labels = self.mix is not None or self._num_classes is not None
        return ('labels',) * labels + ('keys',) * (self.erase is not None)

    def set_img_size(self, loaded: tuple[int, int], used: tuple[int, int]) -> None:
        """From now on downscale images from `loaded` to `used` pixels, (height, width)."""
        self._shrink = None if loaded == used else Shrink(loaded, used)

    def expect_classes(self, num_classes: int) -> None:
        """From now on refuse to train on labels outside 0..num_classes - 1; mixup makes as many.

        Raises:
            ValueError: `mixup` states another number of classes.
        """
        if self.mix is not None:
            self.mix.expect_classes(num_classes)
        self._num_classes = num_classes

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Prepare a batch.

        Args:
            data: `inputs` uint8 or uint16 (B, C, H, W), `labels` and `keys` int64 (B,), and
                more that is passed on.
            training: mix and erase, if configured.

        Returns:
            The batch on the device, `inputs` normalised float32, `labels` soft (B, N) if mixed.

        Raises:
            ValueError: images of another type or shape, labels or keys of another number
                of images; in training none, or a label that the head has no class for.
        """
        _check(data, self._needed if training else ())
        if training and self._num_classes is not None:  # before the labels are copied to the device
            check_labels(data, self._num_classes)
        batch: dict[str, Tensor] = self.cast_data(data)
        if batch['inputs'].dtype == torch.uint16:
            batch['inputs'] = batch['inputs'].float().div_(_LEVEL)
        if self._shrink is not None:
            batch['inputs'] = self._shrink(batch['inputs'])
        batch['inputs'] = normalise(batch['inputs'], self.mean, self.std)
        if training and self.erase is not None:
            batch['inputs'] = self.erase(batch['inputs'], data['keys'])
        if training and self.mix is not None:
            batch['inputs'], batch['labels'] = self.mix(batch['inputs'], batch['labels'])
        return batch


def _check(data: Mapping[str, Tensor], needed: Sequence[str]) -> None:
    """Refuse a batch that `collate` would not make, or whose parts differ in length."""
    if not isinstance(data, Mapping) or 'inputs' not in data:
        found = sorted(data) if isinstance(data, Mapping) else f'a {type(data).__name__}'
        raise ValueError(
            f"a batch must be a dict with images as 'inputs', not {found}; a collate_fn of its own "
            'needs the preprocessor that goes with it as model.preprocessor.type'
        )
    inputs = data['inputs']
    check_shape('inputs', inputs, 'B', 'C', 'H', 'W', hint='one image is a batch too: images[None]')
    if inputs.dtype not in (torch.uint8, torch.uint16):
        raise ValueError(
            f'inputs must be {torch.uint8}, 0 to 255, or {torch.uint16}, 0 to 65535, not '
            f'{inputs.dtype}'
        )
    for name in ('labels', 'keys', 'ids'):
        if name in data:
            check_shape(name, data[name], len(inputs), hint='one for each image')
        elif name in needed:
            raise ValueError(f'the batch has no {name}, which training needs')


def channel_statistics(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel as `normalise` takes them, (C, 1, 1).

    Raises:
        ValueError: not one positive deviation a mean.
    """
    if not mean or len(mean) != len(std) or min(std) <= 0:
        raise ValueError(
            'preprocessor.mean and preprocessor.std need one number a channel, the '
            f'deviations positive, not {mean} and {std}'
        )
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images - mean) / std as float32, in one new tensor of the same memory layout.

    Args:
        images: (B, C, H, W); with the channels last in memory, as from `collate`, a row is one
            long loop on a CPU: four times as fast as a loop over three channels.
        mean: (C, 1, 1), or (1, 1, 1) for all channels.
        std: standard deviation, in the shape of `mean`.

    Raises:
        ValueError: the images have another number of channels than there are means.
    """
    B, C, H, W = images.shape
    if len(mean) not in (1, C):
        raise ValueError(
            f'images have {counted(C, "channel")}, preprocessor.mean has {len(mean)} numbers; make '
            'model.preprocessor.mean, its .std, model.encoder.in_channels and the channels of '
            'DecodeImage in dataset.pipeline agree; within DecodeRandomResizedCrop those are '
            f"decode=dict(type='DecodeImage', channels={len(mean)})"
        )
    dtype = torch.promote_types(torch.float32, mean.dtype)
    pixels = images.permute(0, 2, 3, 1)
    if C == 1 or not pixels.is_contiguous():
        return images.to(dtype, copy=True).sub_(mean).div_(std)
    rows = pixels.view(B, H, W * C).to(dtype, copy=True)
    mean, std = (value.flatten().expand(C).repeat(W) for value in (mean, std))
    rows.sub_(mean).div_(std)
    return rows.view(B, H, W, C).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Shrink:
    """Makes whole batches smaller on the device, for a warm-up at low resolution.

    Bicubic with antialiasing, as the loader's crops; not rounded to whole grey levels.

    Args:
        loaded: (height, width) of the inputs in pixels.
        used: (height, width) of the outputs in pixels.
    """

    loaded: tuple[int, int]
    used: tuple[int, int]

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, *loaded), 0..255, to float32 (B, C, *used), within 0..255.

        Raises:
            ValueError: images of another size, which would not fit at full resolution either.
        """
        H, W = images.shape[-2:]
        if self.loaded != (H, W):
            raise ValueError(
                f'the images are {H}x{W}, but encoder.img_size is '
                f'{self.loaded[0]}x{self.loaded[1]}: make them and encoder.img_size equal; the '
                f'{self.used[0]}x{self.used[1]} of the low resolution are made of them'
            )
        small = F.interpolate(images.float(), self.used, mode='bicubic', antialias=True)
        return small.clamp(0, 255)


def check_labels(data: Mapping[str, Tensor], num_classes: int) -> None:
    """Refuse labels outside the head's classes, on the CPU: a GPU would not name the sample.

    Args:
        data: `labels` and, for messages, `ids`, int64 (B,), on the CPU.
        num_classes: N; labels must lie in 0..N-1.

    Raises:
        ValueError: names the first such sample.
    """
    labels = data['labels']
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        sample = int(data['ids'][first]) if 'ids' in data else first
        raise ValueError(
            f'sample {sample} has label {int(labels[first])}, but '
            f'model.head.num_classes={num_classes} takes labels 0..{num_classes - 1}'
        )
