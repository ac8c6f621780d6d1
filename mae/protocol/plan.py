"""Every run of the protocol: its command line, its folder, what it waits for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmengine.config import Config

from mae.protocol.identity import run_hash
from mae.protocol.jobs import Job, JobProgress, run_jobs
from mae.protocol.presets import Preset, Stage
from mae.protocol.stages import check_options, config_of, options_of, roots
from mae.protocol.task import CHECKPOINT, Task
from mae.utils.dotted_keys import node_at
from mae.utils.errors import CheckpointError, DataError

# About how long an epoch of all labels takes by protocol, and everything else beside it.
_COST = {'pretrain': 1.0, 'linear': 0.7, 'partial': 0.9, 'knn': 0.5}
_COST_ELSE, _COST_START = 1.6, 2.0


@dataclass(frozen=True)
class PlanSettings:
    """Where a plan runs, and on how much hardware.

    Attributes:
        tools: the folder of train.py, test.py and the launchers.
        work_dir: holds a folder for each run.
        data: root of the dataset, or None for that of the configs.
        seeds: a run each, of every stage in which a seed makes a difference.
        cores: number of runs at a time, each on one core; has no effect with GPUs.
        gpus: number of GPUs, all of them for one run at a time; 0 for the CPU.
        options: `--cfg-options` for every run whose config has their section.
        anew: run everything again, whatever earlier runs have left in the folders.
        shares_last: start the last run even if no core is free. The plan ends sooner, but the
            last runs take longer than on a core each.
    """

    tools: Path
    work_dir: Path
    data: str | None
    seeds: Sequence[int]
    cores: int
    gpus: int
    options: Sequence[str]
    anew: bool = False
    shares_last: bool = False

    @property
    def parallel_runs(self) -> int:
        """Number of runs at a time."""
        return 1 if self.gpus else self.cores


class Plan:
    """The tasks of a preset.

    Raises:
        ConfigError: an option fits no config.
        DataError: the data is not where it should be.
    """

    def __init__(self, preset: Preset, settings: PlanSettings) -> None:
        self.preset = preset
        self.settings = settings
        self.stages = preset.stages
        self.pretrain: Task | None = None
        needed = preset.pretrain if self._needs_weights() else None
        before = [needed] if needed is not None else []
        check_options([*before, *self.stages], settings.options)
        self._check_data([*before, *self.stages])
        if needed is not None:
            self.pretrain = self._task(needed, 0)

    @cached_property
    def scratch(self) -> dict[tuple[str, int], Task]:
        """Tasks that need no checkpoint, by key and seed."""
        return self._tasks([stage for stage in self.stages if not stage.is_pretrained])

    @cached_property
    def pretrained(self) -> dict[tuple[str, int], Task]:
        """Tasks that need the checkpoint, by key and seed; pre-training must be done."""
        tasks = self._tasks([stage for stage in self.stages if stage.is_pretrained])
        if self.settings.shares_last and tasks:
            list(tasks.values())[-1].shares = self.settings.parallel_runs > 1
        return tasks

    @property
    def reads_root(self) -> bool:
        """Whether `PlanSettings.data` has an effect."""
        return any(roots(config_of(stage)) for stage in self.stages)

    def stage(self, key: str) -> Stage:
        """Pre-training or the row with a key."""
        before = [self.preset.pretrain] if self.preset.pretrain is not None else []
        return next(stage for stage in (*before, *self.stages) if stage.key == key)

    def seeds_of(self, stage: Stage) -> Sequence[int]:
        """All seeds, or the first where a seed makes no difference."""
        return self.settings.seeds if stage.is_seeded else self.settings.seeds[:1]

    def task(self, stage: Stage, seed: int) -> Task:
        """Task of a stage and seed; a stage with a grid has tasks only for its `trials`."""
        return (self.pretrained if stage.is_pretrained else self.scratch)[stage.key, seed]

    def tasks_of(self, stage: Stage) -> list[Task]:
        """Tasks of a stage, one a seed."""
        return [self.task(stage, seed) for seed in self.seeds_of(stage)]

    def weights(self) -> Path:
        """Path of the checkpoint that is evaluated."""
        if self.pretrain is not None:
            found = self.pretrain.checkpoint()
            if found is None or not found.is_file():
                raise CheckpointError(
                    f'{self.pretrain.work_dir}: its checkpoint is gone; remove the folder to '
                    'pre-train anew'
                )
            return found
        assert self.preset.checkpoint is not None
        return self.preset.checkpoint

    def execute(self) -> None:
        """Run what has no result yet, with a progress bar.

        Raises:
            ConfigError: a folder holds something else.
            JobError: a run failed.
        """
        waits = self.pretrain is not None and self.pretrain.result is None
        first = [self.pretrain] if self.pretrain is not None else []
        first += [] if waits or not self._needs_weights() else list(self.pretrained.values())
        first = _left([*first, *self.scratch.values()])
        cost = sum(task.cost for task in first) + (self._cost_of_pretrained() if waits else 0)

        def then(job: Job) -> list[Job]:
            return [*_left(list(self.pretrained.values()))] if job is self.pretrain else []

        with JobProgress(cost) as progress:
            run_jobs(first, self.settings.parallel_runs, progress, then)

    def _needs_weights(self) -> bool:
        return any(stage.is_pretrained for stage in self.stages)

    def _tasks(self, stages: Sequence[Stage]) -> dict[tuple[str, int], Task]:
        return {
            (trial.key, seed): self._task(trial, seed)
            for stage in stages
            for trial in stage.trials
            for seed in self.seeds_of(trial)
        }

    def _task(self, stage: Stage, seed: int) -> Task:
        settings = self.settings
        options, config = self._config(stage, seed)
        folder = settings.work_dir / (f'{stage.key}-seed{seed}' if stage.is_seeded else stage.key)
        changes = ['--cfg-options', *options] if options else []
        place = ['--work-dir', str(folder)]
        tested = [*place, '--out', str(folder / 'metrics.json'), *changes]
        weights = self.weights() if stage.is_pretrained else None
        if stage.is_test:
            words = [stage.config, str(weights), *self._number(), *tested]
            test_words = []
        else:
            load = ['--load-from', str(weights)] if weights is not None else []
            choice = ['--seed', str(seed)]
            words = [stage.config, *self._number(), *place, *load, *choice, *changes]
            test_words = [stage.config, CHECKPOINT, *self._number(), *tested]
        return Task(
            stage.title + (f' (seed {seed})' if stage.is_seeded else ''),
            self._script('test' if stage.is_test else 'train'),
            words,
            folder,
            cost=self._cost(stage, config),
            epochs=0 if stage.is_test else config.train_cfg.max_epochs,
            test_args=() if stage.protocol == 'pretrain' else tuple(test_words),
            test_script=self._script('test'),
            metric=stage.metrics[0],
            identity=run_hash(config, seed, weights),
            devices=settings.gpus or 1,
            anew=settings.anew,
        )

    def _number(self) -> list[str]:
        return [str(self.settings.gpus)] if self.settings.gpus else []

    def _script(self, kind: str) -> Path:
        return self.settings.tools / (f'dist_{kind}.sh' if self.settings.gpus else f'{kind}.py')

    def _cost_of_pretrained(self) -> float:
        stages = [stage for stage in self.stages if stage.is_pretrained]
        once = {trial.key: trial for stage in stages for trial in stage.trials}
        return sum(
            self._cost(trial, self._config(trial, 0)[1]) * len(self.seeds_of(trial))
            for trial in once.values()
        )

    def _cost(self, stage: Stage, config: Config) -> float:
        return _cost(stage, config) / self.settings.parallel_runs

    def _config(self, stage: Stage, seed: int) -> tuple[list[str], Config]:
        """The `--cfg-options` of a run and the config with them."""
        return options_of(stage, seed, self.settings.data, self.settings.options)

    def _check_data(self, stages: Sequence[Stage]) -> None:
        """Look for the data before anything runs, not after the pre-training."""
        for stage in stages:
            _, config = self._config(stage, 0)
            for path in roots(config):
                source = node_at(config, path)
                has_folders = source['type'] == 'ImageFolder'  # a split is one
                folder = Path(source['root'], source.get('split', '') if has_folders else '')
                if not folder.is_dir():
                    raise DataError(
                        f'{folder}: no such folder; --data must name the folder of the dataset, '
                        f'for {path} of {stage.config}'
                    )


def _left(tasks: Sequence[Task]) -> list[Task]:
    """Those without a result, after checking that their folders hold no other run."""
    for task in tasks:
        task.check()
    return [task for task in tasks if task.result is None]


def _cost(stage: Stage, config: Config) -> float:
    if stage.cost is not None:
        return stage.cost
    epochs = 1 if stage.is_test else config.train_cfg.max_epochs
    share = 0.01 if stage.shots else stage.share or 1.0
    return _COST_START + epochs * share * _COST.get(stage.protocol, _COST_ELSE)
