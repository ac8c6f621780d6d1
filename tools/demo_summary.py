"""What the runs of `demo.py` measured, as one dict: nothing in it is stated, all is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from mae.protocol.jobs import Job
from mae.utils import strict_json
from mae.utils.hardware import cpu_name, software
from mae.visualization.logs import Scalars, images_per_second, with_key

Configs = Mapping[str, Any]


@dataclass
class Grid:
    """Training from scratch at several learning rates, each with every seed.

    Attributes:
        trials: one a seed, by base_lr.
    """

    trials: dict[float, list[Job]]

    @property
    def jobs(self) -> list[Job]:
        return [job for trial in self.trials.values() for job in trial]

    @property
    def best(self) -> float:
        """The base_lr with the highest mean over the seeds; of equal ones, with less spread.

        Near the rate at which training diverges one seed can be the best of all and the next one
        fail, so a single seed must not choose.
        """
        spreads = {base_lr: _spread(jobs) for base_lr, jobs in self.trials.items()}
        return max(spreads, key=lambda x: (round(spreads[x]['mean'], 6), -spreads[x]['std']))

    @property
    def is_best_at_edge(self) -> bool:
        """Whether a wider grid might hold a better rate."""
        return self.best in (min(self.trials), max(self.trials))


@dataclass
class Runs:
    """The jobs; those that need the pre-trained weights are added once these are there.

    Attributes:
        pretrain: with a log.
        scratch: as long as fine-tuning.
        longer: longer than that, if asked for.
        knn: with a `metrics.json`.
        finetune: one a seed.
    """

    pretrain: Job
    scratch: Grid
    longer: Grid | None = None
    knn: Job = field(init=False)
    finetune: list[Job] = field(init=False)


def summarise(runs: Runs, configs: Configs, seeds: Sequence[int], cores: int) -> dict[str, Any]:
    """The content of summary.json; top-1 in percent, times in seconds of each part.

    Args:
        runs: all done.
        configs: by part: 'pretrain', 'knn', 'finetune', 'scratch'.
        seeds: of fine-tuning and training from scratch.
        cores: used.
    """
    grids = {'scratch': runs.scratch} | ({'longer': runs.longer} if runs.longer else {})
    trained = [job for grid in grids.values() for job in grid.jobs]
    jobs = [runs.pretrain, runs.knn, *runs.finetune, *trained]
    knn = strict_json.loads_numbers((runs.knn.work_dir / 'metrics.json').read_bytes())
    scale = configs['scratch'].global_batch_size / 256
    results = {name: _grid(grid, scale) for name, grid in grids.items()}
    finetune = _spread(runs.finetune)
    return {
        'pretrain': _pretrain(runs.pretrain, configs['pretrain'].global_batch_size),
        'knn': {'top1': knn['top1']},
        'finetune': finetune,
        **results,
        'margin': {name: finetune['mean'] - result['mean'] for name, result in results.items()},
        'seconds': {
            'pretrain': _seconds([runs.pretrain]),
            'knn': _seconds([runs.knn]),
            'finetune': _seconds(runs.finetune),
            **{name: _seconds(grid.jobs) for name, grid in grids.items()},
        },
        'setup': {
            'train_images': _size(configs['pretrain'].train_dataloader),
            'val_images': _size(configs['finetune'].val_dataloader),
            'labels': _size(configs['finetune'].train_dataloader),
            'mask_ratio': configs['pretrain'].model.masker.mask_ratio,
            'finetune_epochs': runs.finetune[0].epochs,
            'seeds': list(seeds),
            'cores': cores,
            'cpu': cpu_name(),
        },
        'versions': software(),
        'commands': [job.command for job in jobs],
    }


def _top1(jobs: Iterable[Job]) -> list[float]:
    """The last validation of each run, in percent."""
    return [with_key(job.records(), 'top1')[-1]['top1'] for job in jobs]


def _spread(jobs: Sequence[Job]) -> dict[str, Any]:
    """Top-1 of each seed, their mean and standard deviation."""
    top1 = _top1(jobs)
    return {'top1': top1, 'mean': fmean(top1), 'std': stdev(top1)}


def _grid(grid: Grid, scale: float) -> dict[str, Any]:
    """The best rate's results, and those of all.

    Args:
        grid: all done.
        scale: from base_lr to the learning rate.
    """
    best = grid.best
    return {
        **_spread(grid.trials[best]),
        'epochs': grid.jobs[0].epochs,
        'base_lr': best,
        'lr': best * scale,
        'is_best_at_edge': grid.is_best_at_edge,
        'grid': [
            {'base_lr': base_lr, 'lr': base_lr * scale, **_spread(jobs)}
            for base_lr, jobs in grid.trials.items()
        ],
    }


def _pretrain(job: Job, global_batch_size: int) -> dict[str, float]:
    records: list[Scalars] = with_key(job.records(), 'loss')
    return {
        'loss_first': records[0]['loss'],
        'loss_last': records[-1]['loss'],
        'images_per_second': images_per_second(records, global_batch_size),
        'epochs': int(records[-1]['epoch']),
    }


def _seconds(jobs: Iterable[Job]) -> float:
    return sum(job.seconds or 0.0 for job in jobs)


def _size(loader: Any) -> int:
    """Images that a data loader of a config reads."""
    from mae.registry import DATASETS

    return len(DATASETS.build(loader.dataset))
