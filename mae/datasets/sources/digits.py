"""scikit-learn's bundled handwritten digits: real images that need no download."""

from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mae.registry import DATASETS
from mae.utils.errors import ConfigError

_NUM_VAL = 360


@DATASETS.register_module()
class Digits:
    """1,797 grey digits of 8x8 pixels, enlarged once and kept in memory.

    Args:
        split: 'train' (1,437 images) or 'val' (360): stratified, always the same.
        img_size: height and width in pixels, by bicubic enlargement from 8.

    Raises:
        ConfigError: another split, or no size.
    """

    metainfo: ClassVar = {'classes': tuple('0123456789')}

    def __init__(self, split: str = 'train', img_size: int = 16) -> None:
        if not isinstance(img_size, int) or img_size < 1:
            raise ConfigError(f'Digits: img_size must be a positive number, got {img_size!r}')
        images, labels = load_split(split)
        self._images = _enlarge(images, img_size).unbind(0)
        self._labels: list[int] = labels.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img uint8 (1, H, W), gt_label int)."""
        return {'img': self._images[index], 'gt_label': self._labels[index]}

    def get_gt_labels(self) -> list[int]:
        """Labels in the order of the images."""
        return self._labels


@cache  # scikit-learn reads them from a compressed text file, at 20 ms a call
def load_split(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 8, 8) float in 0..1 and labels (N,); the same tensors at each call."""
    if split not in ('train', 'val'):
        raise ConfigError(f"Digits: split must be 'train' or 'val', got {split!r}")
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ConfigError('Digits needs scikit-learn: pip install scikit-learn') from error

    images, labels = load_digits(return_X_y=True)
    train, val = train_test_split(
        np.arange(len(labels)), test_size=_NUM_VAL, stratify=labels, random_state=0
    )
    indices = np.sort(train if split == 'train' else val)
    pixels = torch.from_numpy(images[indices]).float().view(-1, 8, 8) / 16
    return pixels, torch.from_numpy(labels[indices]).long()


def _enlarge(images: Tensor, img_size: int) -> Tensor:
    """(N, h, w) float in 0..1 -> (N, 1, img_size, img_size) uint8."""
    large = F.interpolate(
        images[:, None], size=(img_size, img_size), mode='bicubic', antialias=True
    )
    return (large * 255).round().clamp(0, 255).to(torch.uint8)
