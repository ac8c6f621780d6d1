"""All evaluations of a pre-trained model, with several seeds, in one table.

Pre-trains if it is given a config, then runs k-NN, linear probe, partial fine-tuning, fine-tuning
on 1, 10 and 100 % of the labels and training from scratch; writes protocol.md, protocol.json and
protocol.html. Killed at any moment, the same command continues it.
"""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mae.protocol import PROTOCOLS
from mae.utils.command_line import parse
from mae.utils.trust import add_trust_argument

_TOOLS = Path(__file__).resolve().parent


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'start', metavar='CONFIG_OR_CHECKPOINT', help='of pre-training: a config is trained first'
    )
    parser.add_argument('--data', metavar='ROOT', help='folder of the dataset, for every config')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/protocol/<name>')
    parser.add_argument(
        '--seeds', type=int, default=3, metavar='N', help='number of seeds (default: %(default)s)'
    )
    parser.add_argument(
        '--protocols',
        nargs='+',
        choices=PROTOCOLS,
        default=PROTOCOLS[:-1],
        help='default: all but few-shot',
    )
    parser.add_argument(
        '--recipe',
        choices=('in1k', 'digits', 'fashion', 'crops'),
        help='data of the evaluations, where it is not that of the pre-training',
    )
    device = parser.add_mutually_exclusive_group()
    device.add_argument('--gpus', type=int, metavar='N', help='one run at a time, on N GPUs')
    device.add_argument('--cores', type=int, metavar='N', help='N runs at a time, each on a core')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='for every run whose config has the section, e.g. train_dataloader.num_workers=4',
    )
    parser.add_argument('--markdown', type=Path, metavar='FILE.md', help='write the table here too')
    add_trust_argument(parser)
    args = parse(parser, argv)
    for name in ('seeds', 'gpus', 'cores'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, not {value}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the protocol; `argv` stands for the command line."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out the runs are stopped
    import torch

    from mae.fault_tolerance.lock import folder_lock
    from mae.protocol.jobs import JobError, preload
    from mae.protocol.plan import Plan, PlanSettings
    from mae.protocol.render import write_table
    from mae.protocol.stages import preset_of
    from mae.protocol.table import table_of

    preload()
    name = _name(args.start) + (f'-on-{args.recipe}' if args.recipe else '')
    work_dir = args.work_dir or Path('work_dirs/protocol', name)
    cores = args.cores or min(len(os.sched_getaffinity(0)), 4)
    settings = PlanSettings(
        tools=_TOOLS,
        work_dir=work_dir,
        data=args.data,
        seeds=range(args.seeds),
        cores=cores,
        gpus=args.gpus or 0,
        options=args.cfg_options,
    )
    preset = preset_of(args.start, args.protocols, args.recipe)
    plan = Plan(preset, settings)
    if preset.takes_gpus and not (args.gpus or args.cores):
        raise ValueError(f'{preset.name} takes GPUs: give --gpus N (or --cores N if you mean it)')
    if args.gpus and args.gpus > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ValueError(f'--gpus {args.gpus}: there are {found} here; --cores N takes the CPU')
    if args.data and not plan.reads_root:
        print('warning: --data has no effect: no config here has a root', file=sys.stderr)
    with folder_lock(work_dir, 'a protocol', inherited=True):
        try:
            plan.execute()
        except JobError as error:
            print(error, file=sys.stderr)
            sys.exit(1)
        words = ['python', os.path.relpath(__file__), *(sys.argv[1:] if argv is None else argv)]
        table = table_of(plan, shlex.join(words))
        write_table(table, work_dir, args.markdown)
    _show(table, work_dir)


def _name(start: str) -> str:
    """Name of the work dir: that of the config, or of the checkpoint and its folder."""
    path = Path(start)
    is_config = path.suffix in ('', '.py')
    return path.name.removesuffix('.py') if is_config else f'{path.parent.name}-{path.stem}'


def _show(table: Mapping[str, Any], work_dir: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from mae.protocol.render import cells_of

    shown = Table('protocol', 'top-1, %', 'spread', 'runs')
    for row in table['rows']:
        shown.add_row(*cells_of(row))
    Console().print(shown)
    for remark in table['order']:
        print(remark)
    print(f'table: {work_dir / "protocol.md"}, .json and .html')


if __name__ == '__main__':
    args = parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    if not args.gpus:
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # a process that has started CUDA must not fork
    print('importing PyTorch and mmengine ...', flush=True)
    from mae.apis.cli import run_command

    run_command(main)
