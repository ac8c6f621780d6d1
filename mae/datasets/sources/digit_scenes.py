"""Scenes of handwritten digits: real strokes, composed places, exact masks.

Shapes: H W pixels, N digits of a scene.
"""

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from mae.datasets.sources.digits import load_split
from mae.datasets.transforms.geometry import boxes_of
from mae.registry import DATASETS
from mae.utils.errors import ConfigError

SceneTask = Literal['maps', 'instances', 'images']
DIGITS = tuple('0123456789')
_SPLITS = ('train', 'val')
_TRIES = 50  # to find a free place for one more digit


@DATASETS.register_module()
class DigitScenes:
    """A few of scikit-learn's handwritten digits on a dark canvas, for segmentation and detection.

    A scene is a function of (`seed`, `split`, its number). Scenes of a split use only the digits of
    that split, so that no handwriting of a validation scene has been trained on.

    Args:
        split: 'train' or 'val'.
        num_scenes: number of scenes; the first n of any larger number are the same.
        task: 'maps' for segmentation, whose class 0 is the canvas, 'instances' for detection, or
            'images' for pre-training.
        img_size: height and width of the canvas in pixels.
        digits: smallest and largest number of digits in a scene; fewer where none finds room.
        sizes: smallest and largest height of a digit's square in pixels.
        step: squares begin at multiples of so many pixels; at those of the patch size a small ViT
            needs far fewer scenes to tell the digits apart.
        ink: share of the largest value above which a pixel belongs to a digit.
        seed: chooses the scenes.
        is_cached: keep every scene in memory once it is made: a small ViT trains on one in less
            time than it takes to make it.

    Raises:
        ConfigError: another split or task, or digits that do not fit on the canvas.
    """

    def __init__(
        self,
        split: str = 'train',
        num_scenes: int = 1000,
        task: SceneTask = 'maps',
        *,
        img_size: int = 48,
        digits: tuple[int, int] = (2, 4),
        sizes: tuple[int, int] = (14, 22),
        step: int = 1,
        ink: float = 0.35,
        seed: int = 0,
        is_cached: bool = False,
    ) -> None:
        if split not in _SPLITS:
            raise ConfigError(f"DigitScenes: split must be 'train' or 'val', got {split!r}")
        if task not in get_args(SceneTask):
            raise ConfigError(
                f"DigitScenes: task must be 'maps', 'instances' or 'images', got {task!r}"
            )
        if num_scenes < 1 or not 1 <= digits[0] <= digits[1]:
            raise ConfigError(
                f'DigitScenes: num_scenes and digits must be at least 1, got {num_scenes}, {digits}'
            )
        if not 1 <= step <= img_size:
            raise ConfigError(f'DigitScenes: step must lie in 1..img_size={img_size}, got {step}')
        if not 1 <= sizes[0] <= sizes[1] <= img_size:
            raise ConfigError(
                f'DigitScenes: sizes must be 1 <= low <= high <= img_size={img_size}, got {sizes}'
            )
        self._images, self._labels = load_split(split)
        self.split = split
        self.num_scenes = num_scenes
        self.img_size = img_size
        self.digits = digits
        self.sizes = sizes
        self.step = step
        self.ink = ink
        self.seed = seed
        self.task = task
        self._made: dict[int, dict[str, Any]] | None = {} if is_cached else None
        names = ('canvas', *DIGITS) if task == 'maps' else DIGITS
        self.metainfo = {} if task == 'images' else {'classes': names}

    def __len__(self) -> int:
        return self.num_scenes

    def get_data_info(self, index: int) -> dict[str, Any]:
        """One scene.

        Returns:
            dict(img uint8 (1, H, W), gt_label -1), and for their task map int16 (H, W), 0 for the
            canvas and digit + 1 for ink, or instances: dict(boxes float32 (N, 4), classes int64
            (N,), masks bool (N, H, W), crowd bool (N,)).
        """
        index = range(self.num_scenes)[index]
        if self._made is None:
            return self._make(index)
        if index not in self._made:
            self._made[index] = self._make(index)
        # Transforms replace what these dicts hold, but change no tensor in place.
        info = dict(self._made[index])
        if 'instances' in info:
            info['instances'] = dict(info['instances'])
        return info

    def _make(self, index: int) -> dict[str, Any]:
        draw = np.random.default_rng((self.seed, _SPLITS.index(self.split), index))
        canvas = torch.zeros(self.img_size, self.img_size)
        taken = np.zeros((self.img_size, self.img_size), dtype=bool)
        masks, classes = [], []
        for _ in range(draw.integers(*self.digits, endpoint=True)):
            number = int(draw.integers(len(self._images)))
            size = int(draw.integers(*self.sizes, endpoint=True))
            place = self._free_place(taken, size, draw)
            if place is None:
                continue
            rows, columns = (slice(start, start + size) for start in place)
            digit = _enlarge(self._images[number], size)
            mask = torch.zeros(self.img_size, self.img_size, dtype=torch.bool)
            mask[rows, columns] = digit > self.ink
            if not mask.any():
                continue
            canvas[rows, columns] = digit
            taken[rows, columns] = True
            masks.append(mask)
            classes.append(int(self._labels[number]))
        info: dict[str, Any] = {'img': (canvas * 255).round().to(torch.uint8)[None], 'gt_label': -1}
        if self.task == 'maps':
            info['map'] = self._map(masks, classes)
        if self.task == 'instances':
            info['instances'] = self._instances(masks, classes)
        return info

    def _free_place(
        self, taken: NDArray[np.bool_], size: int, draw: np.random.Generator
    ) -> tuple[int, int] | None:
        """Top and left of a square that touches no other."""
        last = (self.img_size - size) // self.step
        for _ in range(_TRIES):
            top, left = (self.step * draw.integers(0, last, 2, endpoint=True)).tolist()
            rows, columns = (slice(max(start - 1, 0), start + size + 1) for start in (top, left))
            if not taken[rows, columns].any():
                return top, left
        return None

    def _map(self, masks: list[Tensor], classes: list[int]) -> Tensor:
        labels = torch.zeros(self.img_size, self.img_size, dtype=torch.int16)
        for mask, label in zip(masks, classes, strict=True):
            labels[mask] = label + 1
        return labels

    def _instances(self, masks: list[Tensor], classes: list[int]) -> dict[str, Tensor]:
        side = self.img_size
        stacked = torch.stack(masks) if masks else torch.zeros(0, side, side, dtype=torch.bool)
        return {
            'boxes': boxes_of(stacked),
            'classes': torch.tensor(classes, dtype=torch.int64),
            'masks': stacked,
            'crowd': torch.zeros(len(masks), dtype=torch.bool),
        }


def _enlarge(image: Tensor, size: int) -> Tensor:
    """(8, 8) in 0..1 to (size, size), bicubic."""
    large = interpolate(image[None, None], (size, size), mode='bicubic', antialias=True)
    return large[0, 0].clamp(0, 1)
