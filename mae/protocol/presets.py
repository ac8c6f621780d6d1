"""What a plan runs, as data: a `Stage` is a row of the table, a `Preset` holds all of them.

It imports nothing heavy, so that `--help` is quick.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """A row of the table: the same run once for each seed, at each learning rate of its grid.

    Attributes:
        key: prefix of its folders' names. Rows with the same key share their runs: partial
            fine-tuning of all blocks is fine-tuning.
        title: first cell of the row.
        protocol: one of `PROTOCOLS`, or 'pretrain'.
        config: name or path.
        share: fraction of the labels that is used; None for what the config says.
        shots: number of labels a class; None for what the config says.
        blocks: number of last blocks that are trained; None for all.
        base_lrs: a grid of learning rates, of which the one with the best mean over the seeds
            counts; empty for the rate of the config.
        base_lr: the rate of a trial of the grid; None for the rate of the config.
        times: factor on the epochs of the config.
        cost: seconds that a run takes on one core, from which the time left is estimated; None
            derives it from the epochs.
        metrics: keys of the results; the best rate of a grid is another one for each of them.
        seeds_scenes: the seed also chooses the scenes that a run trains on.
    """

    key: str
    title: str
    protocol: str
    config: str
    share: float | None = None
    shots: int | None = None
    blocks: float | None = None
    base_lrs: Sequence[float] = ()
    base_lr: float | None = None
    times: int = 1
    cost: float | None = None
    metrics: Sequence[str] = ('top1',)
    seeds_scenes: bool = False

    @property
    def is_test(self) -> bool:
        return self.protocol == 'knn'

    @property
    def is_seeded(self) -> bool:
        """Whether a seed makes a difference."""
        return self.protocol not in ('pretrain', 'knn')

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from a checkpoint."""
        return self.protocol not in ('pretrain', 'scratch')

    @property
    def trials(self) -> list['Stage']:
        """A stage for each learning rate of the grid, or the stage itself if it has none."""
        return [
            replace(
                self,
                key=f'{self.key}-lr{rate:g}',
                title=f'{self.title}, base_lr {rate:g}',
                base_lrs=(),
                base_lr=rate,
            )
            for rate in self.base_lrs
        ] or [self]


@dataclass(frozen=True)
class Preset:
    """A pre-training, or its checkpoint, and the stages that evaluate it.

    Attributes:
        name: in the title of the table.
        stages: the rows, in their order.
        pretrain: runs first, if any of the stages needs weights.
        checkpoint: weights to evaluate if there is no `pretrain`.
        takes_gpus: on a CPU the runs would take months.
    """

    name: str
    stages: Sequence[Stage]
    pretrain: Stage | None = None
    checkpoint: Path | None = None
    takes_gpus: bool = False


LONGER = 3  # times as many epochs from scratch with `make demo ARGS=--longer`

_SCRATCH = Stage(
    'scratch',
    'from scratch',
    'scratch',
    'vit-mini-p4_scratch-1xb50-coslr-80e_digits-16',
    shots=10,
    base_lrs=(5e-3, 1e-2, 2e-2),
    cost=14.0,
)
DEMO = Preset(
    'the demo',
    pretrain=Stage(
        'pretrain',
        'pre-training',
        'pretrain',
        'mae_vit-mini-p4_1xb64-coslr-170e_digits-16',
        cost=200.0,
    ),
    stages=(
        Stage('knn', 'k-NN', 'knn', 'vit-mini-p4_knn-1xb360_digits-16', cost=4.0),
        Stage(
            'finetune',
            'fine-tuned',
            'finetune',
            'vit-mini-p4_ft-1xb50-coslr-80e_digits-16',
            shots=10,
            cost=14.0,
        ),
        _SCRATCH,
    ),
)
# The best rate must lie inside a grid; for more epochs it is a lower one.
DEMO_LONGER = replace(
    DEMO,
    stages=(
        *DEMO.stages,
        replace(
            _SCRATCH,
            key='longer',
            title=f'from scratch, {LONGER} times the epochs',
            base_lrs=(2.5e-3, 5e-3, 1e-2),
            times=LONGER,
            cost=40.0,
        ),
    ),
)

DENSE_SCENES = (100, 1000)
DENSE_METRICS = {'seg': ('miou',), 'det': ('box_ap', 'mask_ap')}
DENSE_STARTS = ('scratch', 'frozen', 'finetune')


def dense_key(task: str, scenes: int, start: str) -> str:
    """Key of a row of the dense demo.

    Args:
        task: 'seg' or 'det'.
        scenes: one of `DENSE_SCENES`.
        start: one of `DENSE_STARTS`.
    """
    return f'{task}-{scenes}-{start}'


def _dense_stages(
    task: str, scenes: int, config: str, base_lrs: Sequence[float], cost: float
) -> list[Stage]:
    """Rows of a task and a number of labelled scenes.

    Args:
        config: with {} where the baseline and a frozen encoder have their names.
        base_lrs: the baseline's grid.
        cost: see `Stage`.
    """
    title = f'{"segmentation" if task == "seg" else "detection"}, {scenes:,} scenes'

    def stage(start: str, name: str, protocol: str, part: str) -> Stage:
        return Stage(
            dense_key(task, scenes, start),
            f'{title}, {name}',
            protocol,
            config.replace('{}', part),
            base_lrs=base_lrs if start == 'scratch' else (),
            cost=cost,
            metrics=DENSE_METRICS[task],
            seeds_scenes=True,
        )

    return [
        stage('scratch', 'from scratch', 'scratch', '-scratch'),
        stage('frozen', 'frozen', 'partial', '-frozen'),
        stage('finetune', 'fine-tuned', 'finetune', ''),
    ]


DEMO_DENSE = Preset(
    'the dense demo',
    pretrain=Stage(
        'pretrain',
        'pre-training',
        'pretrain',
        'mae_vit-mini-p4_1xb64-coslr-240e_digit-scenes-24',
        cost=450.0,
    ),
    stages=(
        *_dense_stages(
            'seg',
            100,
            'vit-mini-p4_seg-linear{}-1xb25-coslr-200e_digit-scenes-24-100img',
            (0.01, 0.02, 0.04),
            cost=25.0,
        ),
        *_dense_stages(
            'seg',
            1000,
            'vit-mini-p4_seg-linear{}-1xb25-coslr-20e_digit-scenes-24-1000img',
            (0.02, 0.04, 0.08),
            cost=25.0,
        ),
        *_dense_stages(
            'det',
            100,
            'vit-mini-p4_mask-rcnn-single-scale{}-1xb4-coslr-25e_digit-scenes-24-100img',
            (0.128, 0.256, 0.512),
            cost=22.0,
        ),
        *_dense_stages(
            'det',
            1000,
            'vit-mini-p4_mask-rcnn-single-scale{}-1xb4-coslr-3e_digit-scenes-24-1000img',
            (0.128, 0.256, 0.512),
            cost=28.0,
        ),
    ),
)
