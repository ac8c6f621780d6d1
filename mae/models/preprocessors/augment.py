"""Augmentations of whole batches on the device: timm's own objects, seeded (paper table 9).

Shapes: B images, C channels, H W pixels, N classes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators


class Erase:
    """Random erasing (Zhong et al. 2020): boxes and noise of an image follow from its key.

    timm's object draws both on the CPU. On a GPU it does so for all images before the first is
    written to: the number of operators does not depend on that of images.

    Args:
        prob: probability that an image is erased, in [0, 1].
        options: further arguments of timm's `RandomErasing`, such as `mode` and `max_count`.
    """

    def __init__(self, prob: float = 0.25, **options: Any) -> None:
        from timm.data.random_erasing import RandomErasing

        self._erase = RandomErasing(**{'probability': prob, **options, 'device': 'cpu'})

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        """Erase boxes of `images` (B, C, H, W) in place; `keys` is int64 (B,) on the CPU."""
        # Later draws follow from the step, not from an image.
        after = int(torch.randint(1 << 62, ()))
        at_once = _at_once(images)
        drawn = [_Boxes(images, number) for number in range(len(images))]
        for number, key in enumerate(keys.tolist()):
            seed = derive(key, 1)  # the key itself seeded the crop
            random.seed(seed)
            torch.default_generator.manual_seed(seed)
            self._erase(drawn[number] if at_once else images[number])
        seed_generators(after)
        for boxes in zip_longest(*(image.boxes for image in drawn)):  # the later on top
            _write(images, [box for box in boxes if box is not None])
        return images


def _at_once(images: Tensor) -> bool:
    """Whether boxes are kept for one write: on a CPU writing each is a third of the time."""
    return images.device.type != 'cpu'


@dataclass(frozen=True)
class _Box:
    """Place of each pixel of a box among those of the batch (n,), and its new value (n, C)."""

    places: Tensor
    values: Tensor


class _Boxes:
    """Stands for an image that timm's `RandomErasing` is to erase, and keeps what it writes."""

    def __init__(self, images: Tensor, number: int) -> None:
        self.dtype = images.dtype
        self.boxes: list[_Box] = []
        self._size, self._number = images.shape[1:], number

    def size(self) -> torch.Size:
        """(C, H, W)."""
        return self._size

    def __setitem__(self, where: tuple[slice, slice, slice], pixels: Tensor) -> None:
        _, H, W = self._size
        rows, columns = (torch.arange(part.start, part.stop) for part in where[1:])
        places = (self._number * H + rows[:, None]) * W + columns
        values = pixels.expand(-1, len(rows), len(columns)).permute(1, 2, 0).flatten(0, 1)
        self.boxes.append(_Box(places.flatten(), values))


def _write(images: Tensor, boxes: Sequence[_Box]) -> None:
    """Write boxes that do not overlap, without waiting for the device."""
    if not boxes:
        return
    parts = [torch.cat(part) for part in zip(*((b.places, b.values) for b in boxes), strict=True)]
    if images.is_cuda:
        parts = [part.pin_memory() for part in parts]
    places, values = (part.to(images.device, non_blocking=True) for part in parts)
    pixels = images.permute(0, 2, 3, 1)
    pixels[torch.unravel_index(places, pixels.shape[:3])] = values


class Mix:
    """Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), drawn from the step's seed.

    Args:
        options: arguments of timm's `Mixup`: `mixup_alpha`, `cutmix_alpha`, `prob`,
            `switch_prob`, `label_smoothing`, and `num_classes` unless `expect_classes` sets it.

    Raises:
        ValueError: no alpha is above 0, one is negative, or a share is outside [0, 1].
    """

    def __init__(self, **options: Any) -> None:
        from timm.data.mixup import Mixup

        self._stated: int | None = options.get('num_classes')
        self._mixup = mixup = Mixup(**options)
        alphas = mixup.mixup_alpha, mixup.cutmix_alpha
        if min(alphas) < 0 or not (any(alphas) or mixup.cutmix_minmax):
            raise ValueError(
                'mixup needs a mixup_alpha or cutmix_alpha above 0, and none below, not '
                f'{alphas[0]:g} and {alphas[1]:g}; without either set preprocessor.mixup=None'
            )
        for name in ('mix_prob', 'switch_prob', 'label_smoothing'):
            if not 0 <= (share := getattr(mixup, name)) <= 1:
                raise ValueError(
                    f'mixup.{name.removeprefix("mix_")} must lie in 0..1, not {share:g}'
                )

    def expect_classes(self, num_classes: int) -> None:
        """Make soft labels for `num_classes` classes.

        Raises:
            ValueError: the options state another number.
        """
        if self._stated not in (None, num_classes):
            raise ValueError(
                f'model.preprocessor.mixup.num_classes={self._stated}, but '
                f'model.head.num_classes={num_classes}: leave out the first, which then follows'
            )
        self._mixup.num_classes = num_classes

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images (B, C, H, W) and int64 labels (B,) to soft labels (B, N).

        timm's pairing takes no odd number of images: there the last one is a partner twice.

        Raises:
            ValueError: a single image.
        """
        count = len(images)
        if count == 1:
            raise ValueError(
                'mixup pairs the images of a batch, but this one holds 1; '
                'make train_dataloader.batch_size at least 2'
            )
        if count % 2:
            images, labels = torch.cat([images, images[-1:]]), torch.cat([labels, labels[-1:]])
        mixed, targets = self._mixup(images, labels)
        return mixed[:count], targets[:count]
