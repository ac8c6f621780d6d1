"""The inputs that all systems of a comparison share, so that they compute the same.

Shapes: B images, C channels, H W pixels, L patches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mae.benchmark.settings import Settings
from mae.datasets import ImageFolder
from mae.datasets.transforms.pack_dense import pack_bits


@dataclass(frozen=True)
class Inputs:
    """A batch, and the model whose shape and weights the others take.

    Attributes:
        settings: the comparison.
        model: ours.
        weights: its state at the start.
        raw: uint8 (B, C, H, W), what ours takes.
        images: the same, normalised float32, what the peers take.
    """

    settings: Settings
    model: Any
    weights: Mapping[str, Tensor]
    raw: Tensor
    images: Tensor


@dataclass(frozen=True)
class PretrainingInputs(Inputs):
    """For an `MAE`.

    Attributes:
        keys: int64 (B,) on the host, from which our masks follow.
        noise: (B, L), from which the same masks follow.
    """

    keys: Tensor
    noise: Tensor


@dataclass(frozen=True)
class FinetuningInputs(Inputs):
    """For a `Classifier`.

    Attributes:
        labels: int64 (B,) on the host, where those of a run lie.
        loss: takes logits and labels.
        drop_path_rate: rate of the last block; it grows linearly from 0 in the first.
        layer_decay: factor of the learning rate from a layer to the one below, or None.
        weight_decay: decoupled weight decay, as in AdamW.
        betas: decay rates of AdamW's two averages.
    """

    labels: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    drop_path_rate: float
    layer_decay: float | None
    weight_decay: float
    betas: tuple[float, float]


@dataclass(frozen=True)
class DenseInputs(Inputs):
    """For a `Segmenter` or a `Detector`.

    Attributes:
        samples: of `PackDense`, with `id` and `key`.
        targets: what our preprocessor makes of them: `maps`, or `objects` of each image.
        weight_decay: decoupled weight decay, as in AdamW.
        betas: decay rates of AdamW's two averages.
    """

    samples: Sequence[dict[str, Any]]
    targets: Mapping[str, Any]
    weight_decay: float
    betas: tuple[float, float]


def dense_samples(
    raw: Tensor, num_classes: int, *, with_maps: bool, objects: int = 8
) -> list[dict[str, Any]]:
    """Random maps, or random rectangles as objects, on images; a function of their number.

    Args:
        raw: uint8 (B, C, H, W).
        num_classes: of the pixels or of the objects.
        with_maps: maps for segmentation; else objects for detection.
        objects: of each image.
    """
    size = (raw.shape[-2], raw.shape[-1])
    found = []
    for number, image in enumerate(raw.cpu()):
        draw = torch.Generator().manual_seed(number)
        sample: dict[str, Any] = {'label': -1, 'id': number, 'key': number, 'inputs': image}
        sample |= {'shape': torch.tensor(size), 'original': torch.tensor(size)}
        if with_maps:
            sample['map'] = torch.randint(num_classes, size, generator=draw).to(torch.int16)
        else:
            sample |= _rectangles(size, num_classes, objects, draw)
        found.append(sample)
    return found


def _rectangles(
    size: tuple[int, int], num_classes: int, number: int, draw: torch.Generator
) -> dict[str, Tensor]:
    """Objects of an eighth to a half of the image's sides, filled."""
    sides = torch.tensor([size[1], size[0]])
    extent = (sides * (0.125 + 0.375 * torch.rand(number, 2, generator=draw))).long().clamp(min=1)
    start = ((sides - extent) * torch.rand(number, 2, generator=draw)).long()
    boxes = torch.cat([start, start + extent], dim=1)
    masks = torch.zeros(number, *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return {
        'boxes': boxes.float(),
        'classes': torch.randint(num_classes, (number,), generator=draw),
        'crowd': torch.zeros(number, dtype=torch.bool),
        'areas': masks.flatten(1).sum(1).double(),
        'masks': pack_bits(masks),
        'mask_size': torch.tensor(size),
    }


def random_images(settings: Settings, encoder: Any) -> Tensor:
    """uint8 (B, C, H, W) on the device."""
    shape = (settings.batch_size, encoder.in_channels, *encoder.img_size)
    generator = torch.Generator().manual_seed(settings.seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(settings.device)


@dataclass(frozen=True)
class LoaderInputs:
    """A folder of images and the options of the loaders.

    Attributes:
        root: folder with one folder for each class.
        config: our config, which states the crop.
        batch_size: images of a batch.
        workers: processes that read.
        batches: number of batches in a pass over the data.
        repeats: times that an image is read in a pass.
    """

    root: Path
    config: Config
    batch_size: int
    workers: int
    batches: int
    repeats: int

    @classmethod
    def of(cls, root: Path, settings: Settings, workers: int, batches: int) -> 'LoaderInputs':
        """Repeat the images until there are at least so many batches."""
        number = len(ImageFolder(str(root)))
        repeats = -(-batches * settings.batch_size // number)
        fitting = number * repeats // settings.batch_size
        return cls(root, settings.config, settings.batch_size, workers, fitting, repeats)

    @property
    def crop(self) -> Any:
        """The options of our random crop: `size` and `scale`."""
        steps = self.config.train_dataloader.dataset.pipeline
        for step in steps:
            if step['type'].endswith('RandomResizedCrop'):
                return step
        raise ValueError(
            f'{self.config.filename}: no random resized crop in train_dataloader.dataset.pipeline, '
            'so the peers cannot be given the same work'
        )

    @property
    def indices(self) -> list[int]:
        """Indices of the images of a pass, for loaders that do not repeat images themselves."""
        number = len(ImageFolder(str(self.root)))
        return [index % number for index in range(self.batches * self.batch_size)]

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of PyTorch's DataLoader; no pinning, which is not done in a worker."""
        return {
            'batch_size': self.batch_size,
            'shuffle': True,
            'num_workers': self.workers,
            'persistent_workers': self.workers > 0,
        }


WIDTH, HEIGHT = 500, 375  # ImageNet's commonest
_QUALITY = 90
_SKIMAGE = ('astronaut', 'coffee', 'rocket')  # what its wheel holds, in colour and large enough


def write_photos(folder: Path, number: int = 256) -> int:
    """Write `number` different JPEG files of 500x375 pixels into `folder/photos/`.

    Returns:
        Their mean size in bytes.
    """
    target = folder / 'photos'
    target.mkdir(parents=True)
    sources = _sources()
    draw = np.random.default_rng(0)
    for index in range(number):
        source = sources[index % len(sources)]
        top = draw.integers(source.shape[0] - HEIGHT + 1)
        left = draw.integers(source.shape[1] - WIDTH + 1)
        part = source[top : top + HEIGHT, left : left + WIDTH]
        if index // len(sources) % 2:
            part = part[:, ::-1]
        image = Image.fromarray(np.ascontiguousarray(part))
        image.save(target / f'{index:05d}.jpg', quality=_QUALITY)
    sizes = [path.stat().st_size for path in target.iterdir()]
    return sum(sizes) // len(sizes)


def _sources() -> list[NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    found = list(load_sample_images().images)
    try:
        from skimage import data
    except ImportError:  # only the tests need scikit-image
        return found
    return found + [getattr(data, name)() for name in _SKIMAGE]
