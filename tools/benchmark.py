"""Speed and memory of ours beside other implementations, timed in interleaved rounds."""

import argparse
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mae.benchmark import GPU_ROWS, PEERS, STORAGES
from mae.utils.command_line import add_cfg_options, parse

_PRETRAIN = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
_FINETUNE = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
_SEGMENT = 'vit-base-p16_upernet-8xb2-polylr-160k_ade20k-512'
_DETECT = 'vit-base-p16_mask-rcnn-vitdet-64xb1-steplr-100e_coco-1024'
_TEST = 'vit-base-p16_test-8xb128_in-c'
_SMALL = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
# What only some tasks take.
_EXTRA = ('peers', 'rounds', 'equal_allocator', 'steps', 'at', 'data', 'workers', 'storage', 'bank')
_TRAINING = ('step', 'finetune', 'segment', 'detect')
# A step of a few milliseconds, beside which the cost of the runner shows.
_TINY = [
    'model.encoder.arch.embed_dim=16',
    'model.encoder.arch.depth=1',
    'model.decoder.embed_dim=16',
]
# Images and a network so small that reading them and counting the hits is what costs.
_TINY_IMAGES = [
    'model.encoder.img_size=32',
    'model.encoder.arch=dict(embed_dim=16, depth=1, num_heads=1)',
]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest='task', required=True)
    _compute_tasks(tasks)
    _data_tasks(tasks)
    _count_options(tasks)
    _gpu_options(tasks)
    args = parse(parser, argv)
    _check(parser, args)
    return args


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse numbers that mean nothing."""
    if not 0 < getattr(args, 'minutes', 1) < math.inf:
        parser.error(f'--minutes must be a number above 0, not {args.minutes}')
    for name, least in {'batch': 1, 'rounds': 1, 'steps': 1, 'bank': 1, 'workers': 0}.items():
        value = getattr(args, name, least)
        if value < least:
            parser.error(f'--{name} must be at least {least}, not {value}')
    if min(getattr(args, 'at', [0])) < 0:
        parser.error(f'--at takes numbers of iterations, not {min(args.at)}')


def _compute_tasks(tasks: Any) -> None:
    """Steps, features and kernels of a model."""
    step = _task(tasks, 'step', 'pre-training step: forward, backward, update', _PRETRAIN)
    finetune = _task(tasks, 'finetune', 'fine-tuning step of a classifier', _FINETUNE)
    segment = _task(tasks, 'segment', 'training step of a segmenter', _SEGMENT)
    detect = _task(tasks, 'detect', 'training step of a detector', _DETECT)
    for task, batch in (step, 16), (finetune, 16), (segment, 2), (detect, 1):
        _model_options(task, batch)
        _cpu_time(task)
        task.add_argument('--no-memory', action='store_true', help='leave out the memory figures')
    evaluate = _task(tasks, 'evaluate', 'features of whole images, and k-NN', _PRETRAIN)
    _model_options(evaluate, batch=32)
    evaluate.add_argument(
        '--bank', type=int, default=50000, metavar='M', help='images in the bank of k-NN'
    )
    for task in step, finetune, segment, detect, evaluate:
        task.add_argument(
            '--equal-allocator',
            action='store_true',
            help='let the peers keep freed memory too, as ours does on a CPU',
        )
    attention = _task(tasks, 'attention', 'every kernel of attention, at its shapes', _PRETRAIN)
    _model_options(attention, batch=16)


def _data_tasks(tasks: Any) -> None:
    """What is around a model: data, the runner, the start of a tool."""
    loader = _task(tasks, 'loader', 'input pipeline: JPEG photographs to batches', _PRETRAIN)
    _sizes(loader, batch=64, steps=16)
    loader.add_argument(
        '--data',
        type=Path,
        metavar='ROOT',
        help='folder with class folders of images (default: photographs that come with '
        'scikit-learn and scikit-image, cut to 500x375)',
    )
    loader.add_argument(
        '--workers',
        type=int,
        default=1,
        metavar='N',
        help='data workers of each loader; 0 reads in this process, on one thread',
    )
    loader.add_argument(
        '--storage',
        nargs='+',
        choices=STORAGES,
        default=STORAGES,
        help='what is read: JPEG files, packed ones of a short side of 256 pixels, packed pixels '
        '(default: all)',
    )
    _cpu_time(loader)
    text = 'a test on the folders of ImageNet-C beside one on a plain list, in CPU time'
    groups = _task(tasks, 'groups', text, _TEST, rounds=30)
    _sizes(groups, batch=128, steps=26)
    groups.set_defaults(cfg_options=_TINY_IMAGES)
    runner = _task(tasks, 'runner', 'cost of everything around the step', _SMALL)
    _sizes(runner, batch=4, steps=100)
    runner.set_defaults(cfg_options=_TINY)
    runner.add_argument(
        '--at',
        type=int,
        nargs='+',
        default=[10],
        metavar='ITERATION',
        help='iterations at which to measure, such as 10 100000',
    )
    start = tasks.add_parser('start', help=(text := 'CPU time to an error, and to the first step'))
    start.description = f'{text} of a command line that trains.'
    _measuring(start, 'start', rounds=5)


def _count_options(tasks: Any) -> None:
    count = _task(tasks, 'count', 'operators and bytes of a step, on no device', _PRETRAIN)
    count.add_argument('--batch', type=int, default=256, metavar='N', help='images in one step')
    count.add_argument('--dtype', choices=['bfloat16', 'float32'], default='bfloat16')
    count.add_argument(
        '--compile', action='store_true', help='count the blocks as torch.compile fuses them'
    )


def _task(
    tasks: Any, name: str, text: str, config: str, rounds: int = 10
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = tasks.add_parser(name, help=text, description=text)
    parser.add_argument('--config', default=config, help='path or name (default: %(default)s)')
    add_cfg_options(parser)
    _measuring(parser, name, rounds)
    return parser


def _gpu_options(tasks: Any) -> None:
    text = 'all that a GPU is to be asked, in ten minutes'
    rows = '; '.join(f'{number} {name}' for number, name in GPU_ROWS.items())
    gpu = tasks.add_parser('gpu', help=text, description=f'{text}. Rows: {rows}.')
    gpu.add_argument('--device', choices=['cpu', 'cuda'], default='cuda')
    gpu.add_argument(
        '--rows', nargs='+', type=int, choices=GPU_ROWS, metavar='N', help='default: all'
    )
    gpu.add_argument('--quick', action='store_true', help='try the logic on the smallest models')
    gpu.add_argument(
        '--minutes', type=float, default=10.0, metavar='M', help='for all rows (default: 10)'
    )
    gpu.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/gpu'),
        metavar='FOLDER',
        help='gpu.json, gpu.txt and logs go here (default: %(default)s)',
    )


def _measuring(parser: argparse.ArgumentParser, name: str, rounds: int) -> None:
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the result here')
    if name not in PEERS:
        return
    parser.add_argument(
        '--peers',
        nargs='*',
        choices=PEERS[name],
        default=PEERS[name],
        help='systems to compare with (default: all that run here)',
    )
    parser.add_argument(
        '--rounds', type=int, default=rounds, metavar='N', help='measurements of each system'
    )


def _cpu_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='seconds of the processor in the place of the clock, on a CPU that others use',
    )


def _sizes(parser: argparse.ArgumentParser, batch: int, steps: int) -> None:
    parser.add_argument('--batch', type=int, default=batch, metavar='N', help='images in one step')
    parser.add_argument(
        '--steps', type=int, default=steps, metavar='N', help='steps timed together'
    )


def _model_options(parser: argparse.ArgumentParser, batch: int) -> None:
    _sizes(parser, batch, steps=2)
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], help='default: the GPU if there is one'
    )
    parser.add_argument('--dtype', choices=['bfloat16', 'float32'], default='bfloat16')
    parser.add_argument(
        '--compile', action='store_true', help='torch.compile, for ours and the peers alike'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure; `argv` stands for the command line."""
    args = parse_args(argv)
    words = ['python', 'tools/benchmark.py', *(sys.argv[1:] if argv is None else argv)]
    if args.task == 'gpu':
        _ask_gpu(args, shlex.join(words))
        return
    from importlib import import_module

    from mae.benchmark.report import prepare_output, show, write_report

    if args.json:
        prepare_output(args.json)  # now, and not after an hour of measuring

    module = import_module(f'mae.benchmark.{"compare" if args.task in _TRAINING else args.task}')
    settings = () if args.task == 'start' else (_settings(args),)
    report = module.run(*settings, command=shlex.join(words), **_options(args))
    (module.show_counts if args.task == 'count' else show)(report)
    if args.json:
        write_report(report, args.json)
        print(f'wrote {args.json}')


def _ask_gpu(args: argparse.Namespace, command: str) -> None:
    """Run the rows.

    Raises:
        ValueError: there is no such device, or some rows failed; those are named.
    """
    from mae.apis.device import resolve_device
    from mae.benchmark import gpu
    from mae.benchmark.report import prepare_output

    device = resolve_device(args.device)
    for name in 'gpu.json', 'gpu.txt':
        prepare_output(args.out / name)
    options = {'rows': args.rows or (), 'quick': args.quick, 'minutes': args.minutes}
    report = gpu.run(device, args.out.absolute(), **options, command=command)
    gpu.show_rows(report)
    print(f'wrote {args.out / "gpu.json"}')
    if failed := gpu.failures(report):
        raise ValueError(f'failed: row {", ".join(failed)}; logs are in {args.out}')


def _settings(args: argparse.Namespace) -> Any:
    """What all systems have in common, from the config and the options of the model."""
    import torch

    from mae.apis import load_config
    from mae.apis.device import resolve_device
    from mae.benchmark.settings import DTYPES, Settings
    from mae.config import parse_options

    config = load_config(args.config, parse_options(args.cfg_options))
    device = getattr(args, 'device', None) or ('cuda' if torch.cuda.is_available() else 'cpu')
    device = 'cpu' if args.task == 'count' else device  # whose tensors have no values
    if device == 'cuda' and args.task in _TRAINING and args.cpu_time:
        raise ValueError('--cpu-time does not see what a GPU does; take --device cpu')
    return Settings(
        config=config,
        batch_size=args.batch,
        device=resolve_device(device),
        dtype=DTYPES[getattr(args, 'dtype', 'float32')],
        compile=getattr(args, 'compile', False),
        cpu_time=getattr(args, 'cpu_time', False),
    )


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """What only some tasks take."""
    options = {name: value for name, value in vars(args).items() if name in _EXTRA}
    if args.task in _TRAINING:
        options |= {'task': args.task, 'memory': not args.no_memory}
    return options


if __name__ == '__main__':
    args = parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    if getattr(args, 'device', None) == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # mmengine would choose the GPU
    from mae.apis.cli import run_command

    run_command(main)
