"""The input pipeline: JPEG photographs through a data loader, ours beside the peers'."""

import io
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch.utils.data import DataLoader

from mae.benchmark import OURS
from mae.benchmark.inputs import LoaderInputs, write_photos
from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.report import Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.benchmark.worker import reason
from mae.engine import Runner
from mae.utils.allocator import return_freed_memory

_NUMBER = count()
# The runner builds a model, which nothing here calls.
_NO_MODEL = {'type': 'ViTEncoder', 'arch': {'embed_dim': 4, 'depth': 1, 'num_heads': 1}}


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
    rounds: int = 10,
    steps: int = 16,
    command: str = '',
) -> Report:
    """Time a pass of each loader, interleaved.

    Args:
        settings: config and batch.
        peers: names of those to compare with.
        data: folder with class folders of images; by default photographs are made.
        workers: processes of each loader.
        rounds: passes of each loader.
        steps: batches of a pass.
        command: the command line, for the report.

    Raises:
        ValueError: the config has no pipeline with a random crop, or there are no images.
    """
    settings.require_training()
    with tempfile.TemporaryDirectory() as folder:
        root = data or Path(folder)
        size = None if data else write_photos(root)
        inputs = LoaderInputs.of(root, settings, workers, steps)
        loaders: dict[str, Any] = {OURS: our_loader(inputs)}
        skipped: dict[str, str] = {}
        for name in peers:
            try:
                loaders[name] = import_module(f'mae.benchmark.peers.{name}').loader(inputs)
                Pass(loaders[name], inputs.batches)()
            except Exception as error:
                loaders.pop(name, None)
                skipped[name] = reason(error)
                print(f'skipped {name}: {skipped[name]}', flush=True)
        passes = {name: Pass(loader, inputs.batches) for name, loader in loaders.items()}
        clocks = {name: clock_of(whole) for name, whole in passes.items()}
        timings = alternate(clocks, rounds=rounds, steps=1)
        del clocks, passes, loaders  # their workers read the folder
    images = inputs.batches * settings.batch_size
    return build_report(
        'loader',
        {name: throughput(timing, images) for name, timing in timings.items()},
        **settings.facts,
        skipped=skipped,
        command=command,
        workers=workers,
        batches_per_round=inputs.batches,
        data=str(data) if data else f'256 photographs of 500x375 pixels, {size} bytes each',
    )


def our_loader(inputs: LoaderInputs) -> DataLoader[Any]:
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
    config.train_dataloader.dataset.source = {'type': 'ImageFolder', 'root': str(inputs.root)}
    with tempfile.TemporaryDirectory() as work_dir, redirect_stdout(io.StringIO()):
        config.work_dir = work_dir
        runner = Runner.from_cfg(config)
        return_freed_memory()  # the runner decides for its process; here the peers live in it too
        loader: DataLoader[Any] = runner.build_dataloader(config.train_dataloader, seed=0)
    return loader
