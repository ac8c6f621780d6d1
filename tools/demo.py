"""The main job in small: pre-train on handwritten digits, then k-NN, fine-tuning and from scratch.

With --dense on scenes of several digits: segmentation and detection from scratch, on the frozen
encoder, and fine-tuned: 61 runs.

Each part is a run of tools/train.py or tools/test.py on a config of configs/demo, as a user would
type it; the report lists the commands. Takes two to five minutes on two CPU cores, --dense about
twenty.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mae.protocol.jobs import JobError, imports_blocked, preload
from mae.protocol.presets import DEMO, DEMO_DENSE, DEMO_LONGER, LONGER
from mae.utils.command_line import parse

if TYPE_CHECKING:
    from mae.protocol.plan import Plan

_START = time.monotonic()
SEEDS = (0, 1, 2)
_SMOKE_EPOCHS = 2
# mmengine and scikit-learn import these where they find them, for what no job needs: a fifth of
# the time of all imports, and two fifths of the files that they read.
_NOT_NEEDED = ('pandas', 'transformers')


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
        '--dense',
        action='store_true',
        help='segment and detect in scenes of several digits instead, into work_dirs/demo-dense',
    )
    parser.add_argument(
        '--smoke',
        action='store_true',
        help=f'train {_SMOKE_EPOCHS} epochs instead of all, into work_dirs/demo-smoke: shows that '
        'everything runs, learns nothing',
    )
    args = parse(parser, argv)
    if args.dense and args.longer:
        parser.error('--longer is of the demo without --dense')
    if args.cores < 1:
        parser.error(f'--cores must be at least 1, not {args.cores}')
    return args


def make_plan(args: argparse.Namespace) -> 'Plan':
    """The plan of the demo, with the options of the command line."""
    from mae.protocol.plan import Plan, PlanSettings

    smoke = [f'train_cfg.max_epochs={_SMOKE_EPOCHS}', 'param_scheduler.warmup_epochs=1']
    folder = 'work_dirs/demo' + ('-dense' if args.dense else '') + ('-smoke' if args.smoke else '')
    settings = PlanSettings(
        tools=Path(__file__).resolve().parent,
        work_dir=args.work_dir or Path(folder),
        data=None,
        seeds=SEEDS,
        cores=args.cores,
        gpus=0,
        options=smoke if args.smoke else [],
        anew=True,
        shares_last=True,
    )
    if args.dense:
        return Plan(DEMO_DENSE, settings)
    return Plan(DEMO_LONGER if args.longer else DEMO, settings)


def print_summary(summary: Mapping[str, Any], report: Path) -> None:
    """The table, and where the report is."""
    from rich.console import Console
    from rich.table import Table

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
    adds = f'{summary["margin"]["scratch"]:.1f} at {scratch["epochs"]} epochs'
    print(f'pre-training adds {adds}; {_rate_of(scratch)}')
    _print_end(summary, report)


def print_dense_summary(summary: Mapping[str, Any], report: Path) -> None:
    """The table, and where the report is."""
    from rich.console import Console
    from rich.table import Table

    from mae.visualization.dense_demo_report import METRIC_NAMES, dense_table

    head, rows = dense_table(summary['results'])
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    for found in summary['results']:
        what = f'{METRIC_NAMES[found["metric"]]}, {found["scenes"]:,} scenes'
        print(f'{what}: {_rate_of(found["scratch"])}')
    _print_end(summary, report)


def _rate_of(scratch: Mapping[str, Any]) -> str:
    edge = ', at the edge of its grid' if scratch['is_best_at_edge'] else ''
    rate = f'base_lr from scratch {scratch["base_lr"]:g}'
    return f'{rate}, the best by the mean of the seeds{edge}'


def _print_end(summary: Mapping[str, Any], report: Path) -> None:
    pretrain, seconds = summary['pretrain'], summary['seconds']['total']
    loss = f'{pretrain["loss_first"]:.3f} -> {pretrain["loss_last"]:.3f}'
    print(f'pre-training: loss {loss}, {pretrain["images_per_second"]:.0f} images/s')
    print(f'all of it in {seconds:.0f} s; report: {report}')


def classification_page(plan: 'Plan', seconds: Mapping[str, float]) -> tuple[dict[str, Any], str]:
    """Summary and report of the demo."""
    from mae.protocol.demo import demo_panels, logs_of, summary_of
    from mae.visualization.demo_report import demo_report

    panels, digits = demo_panels(plan)
    summary = summary_of(plan)
    summary['seconds'] = {**seconds, **summary['seconds'], 'total': time.monotonic() - _START}
    return summary, demo_report(summary, logs_of(plan, summary), panels, digits)


def dense_page(plan: 'Plan', seconds: Mapping[str, float]) -> tuple[dict[str, Any], str]:
    """Summary and report of the dense demo."""
    from mae.protocol.dense_demo import dense_summary, dense_views
    from mae.visualization.dense_demo_report import dense_demo_report

    assert plan.pretrain is not None
    views = {task: dense_views(plan, task) for task in ('seg', 'det')}
    summary = dense_summary(plan)
    summary['seconds'] = {**seconds, **summary['seconds'], 'total': time.monotonic() - _START}
    pictures = {task: found for task, (found, _) in views.items()}
    names = {task: names for task, (_, names) in views.items()}
    return summary, dense_demo_report(summary, plan.pretrain.records(), pictures, names)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo; `argv` stands for the command line."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out the jobs are stopped
    from mae.utils.files import write_json

    plan = make_plan(args)
    imported = time.monotonic() - _START
    try:
        plan.execute()
    except JobError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    # Only now may this process compute: one that has started OpenMP threads must not fork.
    make_page = dense_page if args.dense else classification_page
    summary, page = make_page(plan, {'import': imported})
    work_dir = plan.settings.work_dir
    report = work_dir / 'report.html'
    report.write_text(page, encoding='utf-8')
    write_json(work_dir / 'summary.json', summary)
    (print_dense_summary if args.dense else print_summary)(summary, report)


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    # Everything runs on the CPU, and a process that has started CUDA must not fork.
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    print('importing PyTorch and mmengine ...', flush=True)
    with imports_blocked(*_NOT_NEEDED):
        preload()  # whatever the jobs will need, once for all of them
    from mae.apis.cli import run_command

    run_command(main)
