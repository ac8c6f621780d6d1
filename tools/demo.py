"""The main job in small: pre-train on handwritten digits, then k-NN, fine-tuning and from scratch.

Each part is a run of tools/train.py or tools/test.py on a config of configs/demo, as a user would
type it; the report lists the commands. Takes two to five minutes on two CPU cores.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo_summary import Grid, Runs, summarise
from rich.console import Console
from rich.table import Table

from mae.protocol.jobs import Job, JobError, Meter, preload, run_jobs, without
from mae.utils.command_line import parse
from mae.utils.files import write_json

_START = time.monotonic()

CONFIGS = {
    'pretrain': 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16',
    'knn': 'vit-mini-p4_knn-1xb360_digits-16',
    'finetune': 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16',
    'scratch': 'vit-mini-p4_scratch-1xb50-coslr-80e_digits-16',
}
SEEDS = (0, 1, 2)
# Every seed tries all, and the best mean counts. The best one must not be the first or the last.
# Learning rates of the grids from scratch: each has its best inside.
BASE_LRS = {'scratch': (5e-3, 1e-2, 2e-2), 'longer': (2.5e-3, 5e-3, 1e-2)}
LONGER = 3  # times as many epochs from scratch with --longer

# At most; with fewer than there are cores, the runs from scratch go on beside pre-training.
_PRETRAIN_THREADS = 1
# About how many seconds a job of each part takes on its cores, for the time left.
_COST = {'pretrain': 200.0, 'knn': 4.0, 'finetune': 14.0, 'scratch': 14.0, 'longer': 40.0}
# mmengine and scikit-learn import these where they find them, for what no job needs: a fifth of
# the time of all imports, and two fifths of the files that they read.
_NOT_NEEDED = ('pandas', 'transformers')
_SMOKE_EPOCHS = 2
_NUM_PICTURES = 9
_TOOLS = Path(__file__).resolve().parent


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, help='where all goes (default: work_dirs/demo)')
    parser.add_argument(
        '--cores',
        type=int,
        default=min(len(os.sched_getaffinity(0)), 4),
        help='CPU cores to use (default here: %(default)s)',
    )
    parser.add_argument(
        '--longer',
        action='store_true',
        help=f'also train from scratch {LONGER} times as long; doubles the time or more',
    )
    parser.add_argument(
        '--smoke',
        action='store_true',
        help=f'train {_SMOKE_EPOCHS} epochs instead of all, into work_dirs/demo-smoke: shows that '
        'everything runs, learns nothing',
    )
    args = parse(parser, argv)
    if args.cores < 1:
        parser.error(f'--cores must be at least 1, not {args.cores}')
    return args


@dataclass
class Plan:
    """The jobs.

    Attributes:
        work_dir: of all of them.
        cores: to use.
        epochs: of the trainings, by part; 'longer' is there if it is asked for.
        options: put into the `--cfg-options` of a part's trainings.
    """

    work_dir: Path
    cores: int
    epochs: Mapping[str, int]
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """Of all jobs, as they share the cores."""
        grids = [part for part in ('scratch', 'longer') if part in self.epochs]
        trials = sum(len(BASE_LRS[part]) * _COST[part] for part in grids)
        shared = _COST['knn'] + len(SEEDS) * (_COST['finetune'] + trials)
        return self.pretrain().cost + shared / self.cores

    def pretrain(self) -> Job:
        threads = min(self.cores, _PRETRAIN_THREADS)
        return self._train('pretrain', 'pretrain', [], [], threads)

    def knn(self, checkpoint: Path) -> Job:
        work_dir = self.work_dir / 'knn'
        out = ['--work-dir', str(work_dir), '--out', str(work_dir / 'metrics.json')]
        args = [CONFIGS['knn'], str(checkpoint), *out]
        return Job('k-NN', _TOOLS / 'test.py', args, work_dir, cost=_COST['knn'] / self.cores)

    def finetune(self, checkpoint: Path, seed: int) -> Job:
        more = ['--load-from', str(checkpoint), '--seed', str(seed)]
        job = self._train('finetune', f'finetune-seed{seed}', more, self._choice(seed))
        # The last one shares the cores with those before it, instead of taking one while another
        # idles: nothing comes after it.
        job.shares = seed == SEEDS[-1] and self.cores > 1
        return job

    def grid(self, part: str) -> Grid:
        """Training from scratch at every rate with every seed; `part` is 'scratch' or 'longer'."""
        return Grid(
            {
                base_lr: [self._trial(part, base_lr, seed) for seed in SEEDS]
                for base_lr in BASE_LRS[part]
            }
        )

    def _trial(self, part: str, base_lr: float, seed: int) -> Job:
        options = [f'base_lr={base_lr:g}', *self._choice(seed)]
        folder = f'{part}-lr{base_lr:g}-seed{seed}'
        return self._train(part, folder, ['--seed', str(seed)], options)

    def _choice(self, seed: int) -> list[str]:
        """Each seed also chooses other images to be labelled."""
        return [f'train_dataloader.dataset.source.seed={seed}']

    def _train(
        self, part: str, folder: str, more: Sequence[str], options: Sequence[str], threads: int = 1
    ) -> Job:
        work_dir = self.work_dir / folder
        config = CONFIGS['scratch' if part == 'longer' else part]
        args = [config, '--work-dir', str(work_dir), *more]
        if options := [*options, *self.options.get(part, [])]:
            args += ['--cfg-options', *options]
        return Job(
            part,
            _TOOLS / 'train.py',
            args,
            work_dir,
            threads=threads,
            cost=_COST[part] * threads / self.cores,
            epochs=self.epochs[part],
        )


def load_configs() -> dict[str, Any]:
    """Every config by part."""
    from mae.apis import load_config

    return {part: load_config(name) for part, name in CONFIGS.items()}


def make_plan(args: argparse.Namespace, configs: Mapping[str, Any]) -> Plan:
    """What the command line asks for."""
    trained = {part: config for part, config in configs.items() if part != 'knn'}
    epochs = {part: config.train_cfg.max_epochs for part, config in trained.items()}
    changed = dict.fromkeys(trained, _SMOKE_EPOCHS) if args.smoke else {}
    if args.longer:
        changed['longer'] = LONGER * {**epochs, **changed}['scratch']
    warmup = ['param_scheduler.warmup_epochs=1'] if args.smoke else []
    options = {part: [f'train_cfg.max_epochs={n}', *warmup] for part, n in changed.items()}
    folder = args.work_dir or Path('work_dirs/demo-smoke' if args.smoke else 'work_dirs/demo')
    return Plan(folder, args.cores, {**epochs, **changed}, options)


def execute(plan: Plan) -> Runs:
    """Run all jobs, with a progress bar.

    Raises:
        JobError: one failed.
    """
    runs = Runs(plan.pretrain(), plan.grid('scratch'))
    if 'longer' in plan.epochs:
        runs.longer = plan.grid('longer')

    def then(job: Job) -> list[Job]:
        if job is not runs.pretrain:
            return []
        checkpoint = last_checkpoint(job.work_dir)
        runs.knn = plan.knn(checkpoint)
        runs.finetune = [plan.finetune(checkpoint, seed) for seed in SEEDS]
        return [runs.knn, *runs.finetune]

    longer = runs.longer.jobs if runs.longer else []
    with Meter(plan.cost) as meter:
        run_jobs([runs.pretrain, *runs.scratch.jobs, *longer], plan.cores, meter, then)
    return runs


def last_checkpoint(work_dir: Path) -> Path:
    """The newest good checkpoint of a run, by a relative path if `work_dir` is one.

    Raises:
        ValueError: there is none.
    """
    from mae.fault_tolerance.checkpoint import newest_verified

    found = newest_verified(work_dir, with_best=False)
    if found is None:
        raise ValueError(f'{work_dir} holds no checkpoint that is what its manifest says')
    return found.path


def draw(configs: Mapping[str, Any], checkpoint: Path) -> tuple[list[Any], list[int]]:
    """Panels of the first validation images, and which digits they are."""
    import torch

    from mae.apis import init_model, reconstruct
    from mae.registry import DATASETS

    dataset = DATASETS.build(configs['knn'].test_dataloader.dataset)
    samples = [dataset[index] for index in range(_NUM_PICTURES)]
    images = torch.stack([sample['inputs'] for sample in samples])
    panels = reconstruct(init_model(configs['pretrain'], checkpoint), images)
    return panels, [sample['label'] for sample in samples]


def print_summary(summary: Mapping[str, Any], report: Path) -> None:
    """The table, and where the report is."""
    table = Table('top-1, %', *(f'seed {seed}' for seed in SEEDS), 'mean ± std')
    names = {'finetune': 'fine-tuned', 'scratch': 'from scratch'}
    if 'longer' in summary:
        names['longer'] = f'from scratch, {summary["longer"]["epochs"]} epochs'
    for part, name in names.items():
        results = summary[part]
        spread = f'{results["mean"]:.1f} ± {results["std"]:.1f}'
        table.add_row(name, *(f'{x:.1f}' for x in results['top1']), spread)
    table.add_row('k-NN', *[''] * len(SEEDS), f'{summary["knn"]["top1"]:.1f}')
    Console().print(table)
    scratch = summary['scratch']
    edge = ', at the edge of its grid' if scratch['is_best_at_edge'] else ''
    print(
        f'pre-training adds {summary["margin"]["scratch"]:.1f} at {scratch["epochs"]} epochs; '
        f'base_lr from scratch {scratch["base_lr"]:g}, the best by the mean of the seeds{edge}'
    )
    pretrain, seconds = summary['pretrain'], summary['seconds']['total']
    loss = f'{pretrain["loss_first"]:.3f} -> {pretrain["loss_last"]:.3f}'
    print(f'pre-training: loss {loss}, {pretrain["images_per_second"]:.0f} images/s')
    print(f'all of it in {seconds:.0f} s; report: {report}')


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo; `argv` stands for the command line."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out the jobs are stopped
    configs = load_configs()
    from mae.visualization.demo_report import demo_report

    plan = make_plan(args, configs)
    imported = time.monotonic() - _START
    try:
        runs = execute(plan)
    except JobError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    # Only now may this process compute: one that has started OpenMP threads must not fork.
    panels, digits = draw(configs, last_checkpoint(runs.pretrain.work_dir))
    summary = summarise(runs, configs, SEEDS, plan.cores)
    total = time.monotonic() - _START
    summary['seconds'] = {'import': imported, **summary['seconds'], 'total': total}
    best = runs.scratch.trials[runs.scratch.best]
    jobs = {'pretrain': runs.pretrain, 'finetune': runs.finetune[0], 'scratch': best[0]}
    logs = {part: job.records() for part, job in jobs.items()}
    report = plan.work_dir / 'report.html'
    report.write_text(demo_report(summary, logs, panels, digits), encoding='utf-8')
    write_json(plan.work_dir / 'summary.json', summary)
    print_summary(summary, report)


if __name__ == '__main__':
    parse_args()  # `--help` and slips need not wait for the imports, which take seconds
    # Everything runs on the CPU, and a process that has started CUDA must not fork.
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    print('importing PyTorch and mmengine ...', flush=True)
    with without(*_NOT_NEEDED):
        preload()  # whatever the jobs will need, once for all of them
    from mae.apis.cli import run_command

    run_command(main)
