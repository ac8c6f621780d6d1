"""RandAugment as the fine-tuning recipe runs it: timm's own operations."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mae.datasets.transforms.base import Results, Transform, require_8_bits, to_tensor
from mae.datasets.transforms.decode import to_channels
from mae.datasets.transforms.geometry import note_move, refuse_annotated
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError

_Augment = Callable[[Image.Image], Image.Image]


@TRANSFORMS.register_module()
class RandAugment(Transform):
    """timm's RandAugment with the settings its `create_transform` gives it, on a Pillow copy.

    Args:
        policy: timm's string: magnitude 9, noise of the magnitude .5, severity growing with it.
        mean: RGB in 0..255, fills what a shift or rotation uncovers.
    """

    keeps_size = True

    def __init__(
        self,
        policy: str = 'rand-m9-mstd0.5-inc1',
        *,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
    ) -> None:
        if policy.split('-')[0] != 'rand' or len(mean) != 3:
            raise ConfigError(
                "RandAugment: policy must look like 'rand-m9-mstd0.5-inc1' and mean have three "
                f'numbers, got {policy!r}, {mean}'
            )
        self.policy = policy
        self.fill = tuple(min(255, round(value)) for value in mean)
        self._by_side: dict[int, _Augment] = {}
        self._build(side=224)  # a wrong policy fails here, not in a worker

    def transform(self, results: Results) -> Results:
        """Change the image.

        Raises:
            ValueError: it has a label map or objects, which would not move with it.
            ConfigError: it has 16 bits.
        """
        refuse_annotated(results, 'RandAugment')
        note_move(results, 'RandAugment')
        img = results['img']
        require_8_bits(img, 'RandAugment')
        side = min(img.shape[-2:])
        augment = self._by_side.get(side) or self._build(side)
        colours = to_channels(img, 3).permute(1, 2, 0).numpy()
        augmented = to_tensor(np.asarray(augment(Image.fromarray(colours))))
        results['img'] = to_channels(augmented, img.shape[0])
        return results

    def _build(self, side: int) -> _Augment:
        """The operations of timm for images with this shorter side, on which its shifts depend."""
        from timm.data.auto_augment import rand_augment_transform

        hparams = {
            'translate_const': int(side * 0.45),
            'img_mean': self.fill,
            'interpolation': Image.Resampling.BICUBIC,
        }
        try:
            augment: _Augment = rand_augment_transform(self.policy, hparams)
        except (AssertionError, KeyError, ValueError) as error:
            raise ConfigError(f'RandAugment: timm knows no policy {self.policy!r}') from error
        for operation in getattr(augment, 'ops', ()):
            if operation.name.startswith('Posterize'):
                operation.aug_fn = _posterize
        self._by_side[side] = augment
        return augment


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keeps the upper `bits` of 8; with none of them an image is black.

    timm draws 0 bits in about 2 % of the recipe's draws, for which Pillow 13 raises an error.
    """
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)
