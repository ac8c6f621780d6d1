"""From files to batches: sources, samplers, transforms and the collate function.

Importing this package registers all of them, so a config can name them.
"""

from mae.datasets import transforms
from mae.datasets.check import Checked, verify
from mae.datasets.collate import collate
from mae.datasets.collate_dense import collate_dense
from mae.datasets.quarantine import Quarantined, read_quarantine, write_quarantine
from mae.datasets.sampler import GlobalBatchSampler
from mae.datasets.seeded import SeededDataset
from mae.datasets.shard_sampler import ShardSampler
from mae.datasets.sources.arrow import ArrowImages
from mae.datasets.sources.coco import CocoInstances
from mae.datasets.sources.corrupted import Corrupted
from mae.datasets.sources.digit_scenes import DigitScenes
from mae.datasets.sources.digits import Digits
from mae.datasets.sources.folder import ImageFolder
from mae.datasets.sources.groups import Groups
from mae.datasets.sources.idx import IDXImages
from mae.datasets.sources.imagenet_c import ImageNetC
from mae.datasets.sources.json_images import JsonImages
from mae.datasets.sources.label_maps import LabelMapFolder
from mae.datasets.sources.omnibenchmark import OmniBenchmark
from mae.datasets.sources.packed import PackedImages
from mae.datasets.sources.select_classes import SelectClasses
from mae.datasets.sources.subset import Subset
from mae.datasets.sources.torchvision_images import TorchvisionImages
from mae.datasets.sources.torchvision_sets import HOMES as TORCHVISION_SETS
from mae.datasets.survey import survey

__all__ = [
    'TORCHVISION_SETS',
    'ArrowImages',
    'Checked',
    'CocoInstances',
    'Corrupted',
    'DigitScenes',
    'Digits',
    'GlobalBatchSampler',
    'Groups',
    'IDXImages',
    'ImageFolder',
    'ImageNetC',
    'JsonImages',
    'LabelMapFolder',
    'OmniBenchmark',
    'PackedImages',
    'Quarantined',
    'SeededDataset',
    'SelectClasses',
    'ShardSampler',
    'Subset',
    'TorchvisionImages',
    'collate',
    'collate_dense',
    'read_quarantine',
    'survey',
    'transforms',
    'verify',
    'write_quarantine',
]
