"""Transforms of one sample: a dict with `img_path` or `img`, and `gt_label`.

Pixels are uint8, or uint16 where the first transform keeps 16 bits.
"""

from mae.datasets.transforms.base import Transform
from mae.datasets.transforms.color import ColorJitter
from mae.datasets.transforms.corrupt import Corrupt
from mae.datasets.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop, ResizeShort
from mae.datasets.transforms.decode import DecodeImage
from mae.datasets.transforms.decode_crop import DecodeRandomResizedCrop
from mae.datasets.transforms.dense_resize import (
    ClassBalancedCrop,
    LargeScaleJitter,
    Pad,
    ResizeInside,
    ResizeToFit,
)
from mae.datasets.transforms.flip import RandomFlip, RandomShift
from mae.datasets.transforms.load_instances import LoadInstances
from mae.datasets.transforms.load_map import LoadMap
from mae.datasets.transforms.pack import PackInputs
from mae.datasets.transforms.pack_dense import PackDense
from mae.datasets.transforms.photometric import PhotometricDistortion, RandomBlur, RandomGray
from mae.datasets.transforms.randaugment import RandAugment

__all__ = [
    'CenterCrop',
    'ClassBalancedCrop',
    'ColorJitter',
    'Corrupt',
    'DecodeImage',
    'DecodeRandomResizedCrop',
    'LargeScaleJitter',
    'LoadInstances',
    'LoadMap',
    'PackDense',
    'PackInputs',
    'Pad',
    'PhotometricDistortion',
    'RandAugment',
    'RandomBlur',
    'RandomCrop',
    'RandomFlip',
    'RandomGray',
    'RandomResizedCrop',
    'RandomShift',
    'ResizeInside',
    'ResizeShort',
    'ResizeToFit',
    'Transform',
]
