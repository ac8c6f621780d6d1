"""A model over images of any kind, in batches; unreadable images are listed, not fatal.

Shapes: B images of a batch, M in all, C channels, H W pixels.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mae.apis.device import resolve_device
from mae.apis.images import NamedImage, Picture, Pictures, ReadImage, decoded_bits, name_images
from mae.apis.zoo import LoadedModel, load_model
from mae.evaluation.checks import is_count
from mae.utils.command_line import EvalAmp, progress_bar
from mae.utils.errors import DataError
from mae.utils.precision import EvalPrecision

Item = TypeVar('Item')


@dataclass(frozen=True)
class Failure:
    """An image that could not be read: its name, and why."""

    name: str
    reason: str


class Inferencer:
    """A model, and images for it, read in threads one batch ahead; what cannot be read is skipped.

    Args:
        model: from `get_model`, or what `get_model` takes.
        pretrained: as for `get_model`; has no effect if `model` is a module or of `load_model`.
        device: such as 'cpu' or 'cuda:1'.
        batch_size: images in one forward pass, at least 1.
        num_threads: threads that read images, at least 1.
        progress: show a bar on stderr where there is more than one batch.
        amp: type in which the model computes its products: 'as_trained' takes what the config says
            of evaluation (`eval_amp`, else `optim_wrapper.amp`), and float32 for a module;
            'bfloat16', 'float16', or None for float32.

    Raises:
        ConfigError: another `amp`, or one that the device lacks.
        ValueError: no such device, no model of this toolbox, or a number that is no count.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module | LoadedModel,
        pretrained: bool | str | Path = True,
        *,
        device: str | torch.device = 'cpu',
        batch_size: int = 32,
        num_threads: int = 4,
        progress: bool = True,
        amp: EvalAmp | None = 'as_trained',
    ) -> None:
        if isinstance(model, LoadedModel):
            self.loaded = model
        elif isinstance(model, nn.Module):
            if not (hasattr(model, 'encoder') and hasattr(model, 'data_preprocessor')):
                raise ValueError(
                    f'a {type(model).__name__} is no model of this toolbox: it has no encoder and '
                    'data_preprocessor; take one of get_model or init_model'
                )
            self.loaded = LoadedModel(model.to(resolve_device(device)).eval(), Config())
        else:
            self.loaded = load_model(model, pretrained, device=device)
        if not is_count(batch_size) or not is_count(num_threads):
            raise ValueError(
                'batch_size and num_threads must be whole numbers from 1 on, not '
                f'{batch_size!r} and {num_threads!r}'
            )
        self.model = self.loaded.model
        config = self.loaded.config if amp == 'as_trained' else {'eval_amp': amp}
        self.precision = EvalPrecision.of(config, torch.device(device).type)
        if self.precision.dtype is not None and amp == 'as_trained':
            print(f'computing in {self.precision.name}, as trained', file=sys.stderr)
        self.batch_size = batch_size
        self.num_threads = num_threads
        self.progress = progress

    def read_batches(
        self, images: Pictures, read: Callable[[Picture], Item], failed: list[Failure]
    ) -> Iterator[tuple[list[str], list[Item]]]:
        """Names and what `read` makes of them; the next chunk is read while the last is used.

        Args:
            images: see `mae.apis.images.name_images`.
            read: from one image to an item; called in threads.
            failed: receives the images that could not be read.
        """
        with ThreadPoolExecutor(self.num_threads) as pool:
            waiting: list[tuple[str, Future[Item]]] = []
            for chunk in self._chunks(images):
                reading = [(name, pool.submit(read, image)) for name, image in chunk]
                yield from _ready(waiting, failed)
                waiting = reading
            yield from _ready(waiting, failed)

    def _chunks(self, images: Pictures) -> Iterator[list[NamedImage]]:
        named: Iterable[NamedImage] = name_images(images)
        number = None
        if not isinstance(images, Iterator):  # a generator may be endless
            named = list(named)
            number = -(-len(named) // self.batch_size)
        chunks = _chunked(named, self.batch_size)
        if self.progress and number != 1:
            yield from progress_bar(chunks, 'images', number)
        else:
            yield from chunks


class TensorInferencer(Inferencer, ABC):
    """A tensor for each image, of images cut and resized as the recipes evaluate classifiers."""

    @cached_property
    def read(self) -> ReadImage:
        """From an image to what the model takes."""
        encoder = self.model.encoder
        bits = decoded_bits(self.loaded.config)
        return ReadImage(encoder.in_channels, encoder.img_size, bits)

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """From normalised images (B, C, H, W) on the device to a result for each, (B, ...)."""

    def stream(self, images: Pictures, failed: list[Failure]) -> Iterator[tuple[list[str], Tensor]]:
        """Names and results of a batch at a time, for more images than memory holds.

        Args:
            images: see `mae.apis.images.name_images`.
            failed: receives the images that could not be read.
        """
        for names, pixels in self.read_batches(images, self.read, failed):
            with torch.inference_mode(), self.precision.autocast():
                batch = self.model.data_preprocessor({'inputs': torch.stack(pixels)}, False)
                yield names, self.forward(batch['inputs'])

    def run(self, images: Pictures) -> tuple[list[str], Tensor, list[Failure]]:
        """Names and results of all, on the CPU, and what could not be read, which is printed too.

        Raises:
            DataError: none could be read.
        """
        failed: list[Failure] = []
        names: list[str] = []
        results: list[Tensor] = []
        for batch, result in self.stream(images, failed):
            names += batch
            results.append(result.float().cpu())
        report_failures(len(names), failed)
        return names, torch.cat(results), failed


def _chunked(items: Iterable[NamedImage], size: int) -> Iterator[list[NamedImage]]:
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


def _ready(
    waiting: list[tuple[str, 'Future[Item]']], failed: list[Failure]
) -> Iterator[tuple[list[str], list[Item]]]:
    names, items = [], []
    for name, future in waiting:
        try:
            items.append(future.result())
            names.append(name)
        except (ValueError, OSError) as error:
            reason = str(error) if name in str(error) else f'{name}: {error}'
            failed.append(Failure(name, reason))
    if items:
        yield names, items


def collect_all(
    stream: Callable[[Pictures, list[Failure]], Iterator[Item]], images: Pictures
) -> tuple[list[Item], list[Failure]]:
    """All that a stream gives of images, and what could not be read, which is printed too.

    Raises:
        DataError: none could be read.
    """
    failed: list[Failure] = []
    found = list(stream(images, failed))
    report_failures(len(found), failed)
    return found, failed


def report_failures(number_read: int, failed: list[Failure]) -> None:
    """Print on stderr what could not be read.

    Raises:
        DataError: nothing could be read.
    """
    total = number_read + len(failed)
    if total == 1 and failed:
        raise DataError(failed[0].reason)
    for failure in failed:
        print(f'skipped {failure.reason}', file=sys.stderr)
    if failed:
        print(f'{len(failed)} of {total} images could not be read', file=sys.stderr)
    if not number_read:
        raise DataError(f'none of {total} images could be read' if total else 'no images given')
