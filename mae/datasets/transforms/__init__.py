"""Transforms of one sample: a dict with `img_path` or `img`, and `gt_label`. Always uint8."""

from mae.datasets.transforms.base import Transform
from mae.datasets.transforms.color import ColorJitter
from mae.datasets.transforms.corrupt import Corrupt
from mae.datasets.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop, ResizeShort
from mae.datasets.transforms.decode import DecodeImage
from mae.datasets.transforms.decode_crop import DecodeRandomResizedCrop
from mae.datasets.transforms.encoded import EncodedCrop
from mae.datasets.transforms.flip import RandomFlip, RandomShift
from mae.datasets.transforms.pack import PackInputs
from mae.datasets.transforms.randaugment import RandAugment

__all__ = [
    'CenterCrop',
    'ColorJitter',
    'Corrupt',
    'DecodeImage',
    'DecodeRandomResizedCrop',
    'EncodedCrop',
    'PackInputs',
    'RandAugment',
    'RandomCrop',
    'RandomFlip',
    'RandomResizedCrop',
    'RandomShift',
    'ResizeShort',
    'Transform',
]
