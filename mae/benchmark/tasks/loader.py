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
from mae.benchmark.apart import reason
from mae.benchmark.feed import Feed
from mae.benchmark.job import Job
from mae.benchmark.machine import describe
from mae.benchmark.measure import alternate, clock
from mae.benchmark.photos import write_photos
from mae.benchmark.report import Report, report_of, throughput
from mae.engine import Runner
from mae.engine.allocator import return_freed_memory

_NUMBER = count()
# The runner builds one; nothing is asked of it.
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
    job: Job,
    peers: Sequence[str],
    *,
    data: Path | None = None,
    workers: int = 1,
    rounds: int = 10,
    steps: int = 16,
    command: str = '',
) -> Report:
    """Time a pass of each loader in turns.

    Args:
        job: config and batch.
        peers: names of those to compare with.
        data: folder with class folders of images; by default photographs are made.
        workers: processes of each loader.
        rounds: passes of each loader.
        steps: batches of a pass.
        command: that began it, for the report.

    Raises:
        ValueError: the config has no pipeline with a random crop, or there are no images.
    """
    job.require_training()
    with tempfile.TemporaryDirectory() as folder:
        root = data or Path(folder)
        size = None if data else write_photos(root)
        feed = Feed.of(root, job, workers, steps)
        loaders: dict[str, Any] = {OURS: ours(feed)}
        skipped: dict[str, str] = {}
        for name in peers:
            try:
                loaders[name] = import_module(f'mae.benchmark.peers.{name}').loader(feed)
                Pass(loaders[name], feed.batches)()
            except Exception as error:
                loaders.pop(name, None)
                skipped[name] = reason(error)
                print(f'skipped {name}: {skipped[name]}', flush=True)
        passes = {name: Pass(loader, feed.batches) for name, loader in loaders.items()}
        clocks = {name: clock(whole) for name, whole in passes.items()}
        timings = alternate(clocks, rounds=rounds, steps=1)
        del clocks, passes, loaders  # their workers read the folder
    images = feed.batches * job.batch_size
    return report_of(
        'loader',
        {name: throughput(timing, images) for name, timing in timings.items()},
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        batch_size=job.batch_size,
        workers=workers,
        batches_per_round=feed.batches,
        data=str(data) if data else f'256 photographs of 500x375 pixels, {size} bytes each',
    )


def ours(feed: Feed) -> DataLoader[Any]:
    """As our runner builds the loader of the config, with the sources exchanged."""
    config = Config(feed.config.to_dict())
    config.merge_from_dict(
        {
            'experiment_name': f'benchmark-loader{next(_NUMBER)}',
            'global_batch_size': feed.batch_size,
            'train_dataloader.num_workers': feed.workers,
            'train_dataloader.batch_size': feed.batch_size,
            'train_dataloader.pin_memory': False,
            'train_dataloader.sampler.num_repeats': feed.repeats,
        }
    )
    config.model = _NO_MODEL
    config.train_dataloader.dataset.source = {'type': 'ImageFolder', 'root': str(feed.root)}
    with tempfile.TemporaryDirectory() as work_dir, redirect_stdout(io.StringIO()):
        config.work_dir = work_dir
        runner = Runner.from_cfg(config)
        return_freed_memory()  # the runner decides for its process; here the peers live in it too
        loader: DataLoader[Any] = runner.build_dataloader(config.train_dataloader, seed=0)
    return loader
