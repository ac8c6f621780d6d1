"""What a training reads: crops with their masks, or as a classifier gets them, mixed and erased.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from PIL import Image
from torch import Tensor

from mae.apis.schedule_picture import config_name
from mae.config import load_config
from mae.datasets import SeededDataset
from mae.datasets.transforms import DecodeImage
from mae.engine import Runner
from mae.engine.data_loaders import has_own_sampler, with_global_batch
from mae.evaluation.checks import is_count
from mae.registry import MODELS
from mae.utils.errors import ConfigError
from mae.utils.hashing import derive
from mae.utils.seeding import generators_kept, seed_generators
from mae.utils.text import printable
from mae.visualization.captions import caption_of
from mae.visualization.panels import HIDDEN, Pixels, as_pixels
from mae.visualization.sheets import Cell, picture_sheet

# Of each column behind the image.
_TITLES = {'MAE': ['crop', 'masked'], 'Classifier': ['augmented', 'mixed and erased']}


def draw_batch(config: str | Path | Config, *, num: int = 8, epoch: int = 0) -> Image.Image:
    """The first images that an epoch of one process trains on: a row for each.

    Of a pre-training: image, crop, and the crop with its hidden patches in grey. Of a classifier:
    image, the image as augmented, with its class, and mixed and erased where the preprocessor does
    that. All random numbers are those of a run in one process.

    Args:
        config: path, name of a shipped config, or `Config`, of a pre-training or a classifier.
        num: images drawn, as far as a micro-batch has them.
        epoch: from 0.

    Raises:
        ConfigError: the config trains neither, or not with a sampler of this toolbox.
        DataError: the images are not there, or cannot be read.
        ValueError: a number that is no count, or images of neither 1 nor 3 channels.
    """
    if not is_count(num) or not isinstance(epoch, int) or epoch < 0:
        raise ValueError(
            f'num must be a whole number from 1 on and epoch from 0 on, not {num!r} and {epoch!r}'
        )
    config = load_config(config)
    kind = (config.get('model') or {}).get('type')
    if kind not in _TITLES:
        raise ConfigError(
            f'only the training images of an MAE or a Classifier are drawn, not of {kind}; '
            'tools/visualization/predict_dense.py draws maps and objects'
        )
    if not config.get('train_dataloader'):
        raise ConfigError(f'{config_name(config)} trains nothing: it has no train_dataloader')
    first = first_batch(config, num, epoch)
    last = training_inputs(config, first)
    classes = first.dataset.metainfo.get('classes') or ()
    rows = []
    for number, crop in enumerate(first.batch['inputs'][:num]):
        sample_id, label = (int(first.batch[name][number]) for name in ('ids', 'labels'))
        whole = _whole_image(first.dataset, sample_id, len(crop))
        known = kind == 'Classifier' and 0 <= label < len(classes)
        row = [
            Cell(whole, caption_of(first.dataset.name(sample_id))),
            Cell(as_pixels(crop), printable(str(classes[label])) if known else ''),
        ]
        rows.append(row if last is None else [*row, Cell(as_pixels(last[number]))])
    titles = ['image', *_TITLES[kind]][: len(rows[0])]
    note = f'the first images of epoch {epoch} with seed {_seed(config)}'
    return picture_sheet(rows, titles, note=note)


@dataclass(frozen=True)
class FirstBatch:
    """The first micro-batch of an epoch.

    Attributes:
        dataset: that of the loader.
        batch: as collated.
        step: number of its optimizer step, from the start of the run.
    """

    dataset: SeededDataset
    batch: dict[str, Any]
    step: int


def first_batch(config: Config, num: int, epoch: int = 0) -> FirstBatch:
    """What the only process of a run reads first in an epoch.

    Args:
        config: of the training.
        num: images that are needed; where images are mixed, all of the micro-batch are read.
        epoch: from 0.

    Raises:
        ConfigError: the sampler is not one of this toolbox.
        DataError: the images are not there, or cannot be read.
    """
    options = {**config.train_dataloader, 'num_workers': 0}
    if not has_own_sampler(options):
        raise ConfigError("train_dataloader.sampler must be of type 'GlobalBatchSampler'")
    options = with_global_batch(options, config.get('global_batch_size'))
    loader: Any = Runner.build_dataloader(options, seed=_seed(config))
    sampler, dataset = loader.batch_sampler, loader.dataset
    sampler.set_position(epoch)
    requests = next(iter(sampler))
    if config.model.get('preprocessor', {}).get('mixup') is None:
        requests = requests[:num]
    batch = loader.collate_fn(dataset.__getitems__(requests))
    return FirstBatch(dataset, batch, epoch * sampler.steps_per_epoch)


def training_inputs(config: Config, first: FirstBatch) -> Tensor | None:
    """What the model makes of the crops, (B, C, H, W); None if it takes them as they are.

    Of an `MAE` the hidden patches are grey, in the type of the crops; of a `Classifier` mixup,
    cutmix and erasing are done, and it is uint8.
    """
    if config.model.type == 'MAE':
        with torch.device('meta'):  # for its grid
            encoder = MODELS.build(config.model.encoder)
        return _masked(encoder, MODELS.build(config.model.masker), first.batch)
    preprocessor: Any = MODELS.build(config.model.preprocessor)
    if preprocessor.mix is None and preprocessor.erase is None:
        return None
    preprocessor.expect_classes(config.model.head.num_classes)
    with generators_kept():
        seed_generators(derive(_seed(config), first.step, 0))  # as the training loop does
        inputs = preprocessor(first.batch, True)['inputs']
    levels: Tensor = inputs * preprocessor.std + preprocessor.mean
    return levels.round().clamp(0, 255).to(torch.uint8)


def _masked(encoder: Any, masker: Any, batch: dict[str, Any]) -> Tensor:
    mask = masker(encoder.grid_size, batch['keys']).dense()  # B,L
    p = encoder.patch_size
    grid = mask.unflatten(1, encoder.grid_size)[:, None]
    hidden = grid.repeat_interleave(p, 2).repeat_interleave(p, 3) > 0  # B,1,H,W
    inputs: Tensor = batch['inputs']
    levels = inputs.int() >> 8 if inputs.dtype == torch.uint16 else inputs
    return torch.where(hidden, HIDDEN, levels).to(torch.uint8)


def _whole_image(dataset: SeededDataset, sample_id: int, channels: int) -> Pixels:
    """The image of a sample before the crop."""
    info = dataset.source.get_data_info(sample_id % len(dataset))
    return as_pixels(DecodeImage(channels)(info)['img'])


def _seed(config: Config) -> int:
    return int((config.get('randomness') or {}).get('seed') or 0)
