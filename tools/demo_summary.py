"""What the runs of `demo.py` measured, as one dict: nothing in it is stated, all is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from mae.protocol.jobs import Job
from mae.utils import strict_json
from mae.utils.circumstances import cpu_name, software
from mae.visualization.logs import Record, images_per_second, with_key

Configs = Mapping[str, Any]


@dataclass
class Runs:
    """The jobs; those that follow from the first two are added once these are done.

    Attributes:
        pretrain: with a log.
        grid: of the first seed from scratch, by base_lr.
        knn: with a `metrics.json`.
        finetune: one a seed.
        base_lr: the best of the grid.
        scratch: one a seed, with that base_lr.
    """

    pretrain: Job
    grid: dict[float, Job]
    knn: Job = field(init=False)
    finetune: list[Job] = field(init=False)
    base_lr: float = field(init=False)
    scratch: list[Job] = field(init=False)

    @property
    def from_scratch(self) -> list[Job]:
        """All runs from scratch, each once."""
        return [*self.grid.values(), *(j for j in self.scratch if j not in self.grid.values())]


def summarise(runs: Runs, configs: Configs, seeds: Sequence[int], cores: int) -> dict[str, Any]:
    """The content of summary.json; top-1 in percent, times in seconds of each part.

    Args:
        runs: all done.
        configs: by part: 'pretrain', 'knn', 'finetune', 'scratch'.
        seeds: of fine-tuning and training from scratch.
        cores: used.
    """
    jobs = [runs.pretrain, runs.knn, *runs.finetune, *runs.from_scratch]
    finetune = [top1_of(job.records()) for job in runs.finetune]
    scratch = [top1_of(job.records()) for job in runs.scratch]
    knn = strict_json.loads_numbers((runs.knn.work_dir / 'metrics.json').read_bytes())
    scale = configs['scratch'].global_batch_size / 256
    return {
        'pretrain': _pretrain(runs.pretrain, configs['pretrain'].global_batch_size),
        'knn': {'top1': knn['top1']},
        'finetune': {'top1': finetune, 'mean': fmean(finetune)},
        'scratch': {
            'top1': scratch,
            'mean': fmean(scratch),
            'base_lr': runs.base_lr,
            'lr': runs.base_lr * scale,
            'grid': [
                {'base_lr': base_lr, 'lr': base_lr * scale, 'top1': top1_of(job.records())}
                for base_lr, job in runs.grid.items()
            ],
        },
        'seconds': {
            'pretrain': _seconds([runs.pretrain]),
            'knn': _seconds([runs.knn]),
            'finetune': _seconds(runs.finetune),
            'scratch': _seconds(runs.from_scratch),
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


def top1_of(records: Sequence[Record]) -> float:
    """The last validation of a run, in percent."""
    return with_key(records, 'top1')[-1]['top1']


def _pretrain(job: Job, global_batch_size: int) -> dict[str, float]:
    records = with_key(job.records(), 'loss')
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
