"""Estimate what a config needs on many GPUs: memory, network, cores, time; no GPU is needed."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mae.utils.command_line import parse

# Options that replace an assumed figure: its name, and how many of its unit one of ours is.
_ASSUMED = {
    'mtbf': ('node_mtbf', 1.0, 'HOURS', 'between two failures of one node'),
    'restart': ('restart', 1.0, 'SECONDS', 'from a failure until the run trains again'),
    'disk': ('disk', 1e9, 'GB/S', 'that one node writes'),
    'images-per-core': ('images_per_core', 1.0, 'N', 'that a core decodes and crops in a second'),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='path or name')
    parser.add_argument('--nodes', type=int, default=1, metavar='N', help='default: %(default)s')
    parser.add_argument(
        '--gpus', type=int, default=8, metavar='N', help='of a node (default: %(default)s)'
    )
    parser.add_argument('--gpu', default='h100', help='a100-40, a100, h100 (default) or h200')
    parser.add_argument(
        '--link', metavar='SPEED', help='of a node to the others, such as 400Gb, 50GB or 8x400Gb'
    )
    parser.add_argument('--cores', type=int, metavar='N', help='of a node (default: enough)')
    parser.add_argument(
        '--images', type=int, metavar='N', help='of an epoch (default: ImageNet-1k, if it is that)'
    )
    parser.add_argument(
        '--batch-per-device', type=int, metavar='N', help='images of a micro-batch at most'
    )
    for name, (_, _, unit, text) in _ASSUMED.items():
        parser.add_argument(f'--{name}', type=float, metavar=unit, help=text)
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE', help='change the config'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the result here')
    args = parse(parser, argv)
    for name in ('nodes', 'gpus', 'cores', 'images', 'batch_per_device'):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1, not {value}')
    for name in _ASSUMED:
        value = getattr(args, name.replace('-', '_'))
        if value is not None and not 0 < value < float('inf'):
            parser.error(f'--{name} must be positive and finite, not {value}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Plan; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.apis import load_config
    from mae.benchmark.cluster import machines, plan
    from mae.benchmark.cluster.workload import measure_workload, require_planned
    from mae.benchmark.report import prepare_output, write_report
    from mae.config import parse_options

    cluster = machines.Cluster(
        args.nodes,
        args.gpus,
        machines.find_gpu(args.gpu),
        None if args.link is None else machines.parse_link(args.link),
    )
    config = load_config(args.config, parse_options(args.cfg_options))
    require_planned(config)
    run = plan.PlannedRun.of(config, cluster, args.images, args.batch_per_device)
    if args.json:
        prepare_output(args.json)
    words = ['python', 'tools/analysis/plan_cluster.py', *(sys.argv[1:] if argv is None else argv)]
    report = plan.plan_cluster(
        run,
        measure_workload(config),
        cluster,
        replace(machines.Assumptions(), **_assumed(args)),
        cores=args.cores,
        command=shlex.join(words),
    )
    plan.show_plan(report)
    if args.json:
        write_report(report, args.json)
        print(f'wrote {args.json}')


def _assumed(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says instead of what is assumed."""
    given = {name: getattr(args, name.replace('-', '_')) for name in _ASSUMED}
    return {
        _ASSUMED[name][0]: value * _ASSUMED[name][1]
        for name, value in given.items()
        if value is not None
    }


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
