"""Augmentations of whole batches on the device: timm's own objects, seeded (paper table 9).

Shapes: B images, C channels, H W pixels, N classes.
"""

from typing import Any

import torch
from torch import Tensor

from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators


class Erase:
    """Random erasing (Zhong et al. 2020): the boxes of an image follow from its key.

    Args:
        prob: probability that an image is erased, in [0, 1].
        options: further arguments of timm's `RandomErasing`, such as `mode` and `max_count`.
    """

    def __init__(self, prob: float = 0.25, **options: Any) -> None:
        from timm.data.random_erasing import RandomErasing

        self._options = {'probability': prob, **options}
        self._build = RandomErasing
        self._erasers: dict[torch.device, RandomErasing] = {}

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        """Erase boxes of `images` (B, C, H, W) in place; `keys` is int64 (B,) on the CPU."""
        if images.device not in self._erasers:
            device = images.device
            self._erasers[device] = self._build(**self._options, device=device.type)
        erase = self._erasers[images.device]
        after = int(
            torch.randint(1 << 62, ())
        )  # later draws follow from the step, not from an image
        for image, key in zip(images, keys.tolist(), strict=True):
            seed_generators(derive(key, 1))  # the key itself seeded the crop
            erase(image)
        seed_generators(after)
        return images


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

        Raises:
            ValueError: an odd number of images, which timm's pairing cannot mix.
        """
        if len(images) % 2:
            raise ValueError(
                f'mixup pairs the images of a batch, but this one holds {len(images)}; '
                'make train_dataloader.batch_size even'
            )
        mixed, targets = self._mixup(images, labels)
        return mixed, targets
