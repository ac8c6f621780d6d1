"""The input pipeline: photographs through a data loader, ours beside the peers'.

A name such as 'mae at packed' is a loader and what it reads, one of `STORAGES`; without it, files.
"""

import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from mae.benchmark import OURS, STORAGES
from mae.benchmark.inputs import LoaderInputs, write_photos
from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.report import Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.benchmark.worker import reason
from mae.datasets import ImageFolder, PackedImages
from mae.datasets.packing import Packing, pack
from mae.engine import Runner
from mae.utils.allocator import return_freed_memory

_NUMBER = count()
_SHORT_SIDE = 256
# The runner builds a model, which nothing here calls.
_NO_MODEL = {'type': 'ViTEncoder', 'arch': {'embed_dim': 4, 'depth': 1, 'num_heads': 1}}


@dataclass(frozen=True)
class Stored:
    """The images as they are read.

    Attributes:
        source: config of ours.
        files: folder of the same files for the peers; None where they can read none.
        size: mean bytes of an image.
    """

    source: dict[str, Any]
    files: Path | None
    size: int


class Pass:
    """Reads a data set once; its workers are idle afterwards, so that they disturb no other."""

    def __init__(self, loader: Iterable[Any], batches: int) -> None:
        self._loader = loader
        self._batches = batches

    def __call__(self) -> None:
        """Read all batches."""
        seen = sum(1 for _ in self._loader)
        if seen != self._batches:
            raise RuntimeError(f'{seen} batches instead of {self._batches}')


def run(
    settings: Settings,
    peers: Sequence[str],
    *,
    data: Path | None = None,
    workers: int = 1,
    storage: Sequence[str] = STORAGES,
    rounds: int = 10,
    steps: int = 16,
    command: str = '',
) -> Report:
    """Time a pass of each loader, interleaved.

    With 0 workers this process reads, on one thread, as a worker does.

    Args:
        settings: config and batch.
        peers: names of those to compare with.
        data: folder with class folders of images; by default photographs are made.
        workers: processes of each loader.
        storage: what is read, of `STORAGES`.
        rounds: passes of each loader.
        steps: batches of a pass.
        command: the command line, for the report.

    Raises:
        ValueError: the config has no pipeline with a random crop, or there are no images.
    """
    settings.require_training()
    if not workers:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = data or Path(folder, 'files')
        if not data:
            write_photos(root)
        inputs = LoaderInputs.of(root, settings, workers, steps)
        stored = {kind: store(root, kind, Path(folder)) for kind in storage}
        passes, skipped = _passes(inputs, peers, stored)
        clocks = {
            name: clock_of(whole, cpu_time=settings.cpu_time) for name, whole in passes.items()
        }
        timings = alternate(clocks, rounds=rounds, steps=1)
        del clocks, passes  # their workers read the folder
    images = inputs.batches * settings.batch_size
    return build_report(
        'loader',
        {name: throughput(timing, images) for name, timing in timings.items()},
        **settings.facts,
        skipped=skipped,
        command=command,
        workers=workers,
        cpu_time=settings.cpu_time,
        batches_per_round=inputs.batches,
        data=str(data) if data else '256 photographs of 500x375 pixels',
        bytes_per_image={kind: images.size for kind, images in stored.items()},
    )


def _passes(
    inputs: LoaderInputs, peers: Sequence[str], stored: Mapping[str, Stored]
) -> tuple[dict[str, Pass], dict[str, str]]:
    """A pass of each loader, by its name, and why some peers have none; peers are tried first."""
    passes: dict[str, Pass] = {}
    skipped: dict[str, str] = {}
    for kind, images in stored.items():
        place = '' if kind == 'files' else f' at {kind}'
        passes[OURS + place] = Pass(our_loader(inputs, images.source), inputs.batches)
        if images.files is None:
            continue
        theirs = replace(inputs, root=images.files)
        for peer in [peer for peer in peers if peer not in skipped]:
            try:
                loader = import_module(f'mae.benchmark.peers.{peer}').loader(theirs)
                passes[peer + place] = Pass(loader, inputs.batches)
                passes[peer + place]()
            except Exception as error:  # whatever a peer lacks must not end the others
                passes.pop(peer + place, None)
                skipped[peer] = reason(error)
                print(f'skipped {peer}: {skipped[peer]}', flush=True)
    return passes, skipped


def store(root: Path, kind: str, folder: Path) -> Stored:
    """The images of a folder in one of the `STORAGES`, made in `folder` but for the files."""
    images = ImageFolder(str(root))
    if kind == 'files':
        paths = [Path(images.get_data_info(index)['img_path']) for index in range(len(images))]
        size = sum(path.stat().st_size for path in paths)
        return Stored({'type': 'ImageFolder', 'root': str(root)}, root, size // len(images))
    target, copy = folder / kind, None
    pack(images, target, Packing(_SHORT_SIDE, pixels=kind == 'pixels'))
    packed = PackedImages(str(target))
    if kind == 'packed':
        copy = folder / 'packed_files'
        for index in range(len(packed)):
            info = packed.get_data_info(index)
            path = copy / Path(info['img_path']).relative_to(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(info['img_bytes'])
    size = sum(path.stat().st_size for path in target.glob('*.bin'))
    return Stored({'type': 'PackedImages', 'root': str(target)}, copy, size // len(packed))


def our_loader(inputs: LoaderInputs, source: Mapping[str, Any]) -> DataLoader[Any]:
    """As our runner builds the loader of the config, with the sources exchanged."""
    config = Config(inputs.config.to_dict())
    config.merge_from_dict(
        {
            'experiment_name': f'benchmark-loader{next(_NUMBER)}',
            'global_batch_size': inputs.batch_size,
            'train_dataloader.num_workers': inputs.workers,
            'train_dataloader.batch_size': inputs.batch_size,
            'train_dataloader.pin_memory': False,
            'train_dataloader.sampler.num_repeats': inputs.repeats,
        }
    )
    config.model = _NO_MODEL
    config.train_dataloader.dataset.source = dict(source)
    with tempfile.TemporaryDirectory() as work_dir, redirect_stdout(io.StringIO()):
        config.work_dir = work_dir
        runner = Runner.from_cfg(config)
        return_freed_memory()  # the runner decides for its process; here the peers live in it too
        loader: DataLoader[Any] = runner.build_dataloader(config.train_dataloader, seed=0)
    return loader
