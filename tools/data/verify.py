"""Read every image of a data set as training would, and list those that cannot be read."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from mae.utils.command_line import add_cfg_options, parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit code 0 if all can be read, 1 if not, with one line PATH: REASON for each.',
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('root', nargs='?', metavar='ROOT', help='folder, searched in depth')
    what.add_argument(
        '--config', help='check the datasets of a config instead, with its transforms'
    )
    parser.add_argument(
        '--workers', type=int, default=_cores(), metavar='N', help='processes (default: all cores)'
    )
    parser.add_argument(
        '--out', metavar='FILE', help='write the quarantine list, even if it is empty'
    )
    add_cfg_options(parser)
    args = parse(parser, argv)
    if args.workers < 0:
        parser.error(f'--workers must be 0 or more, got {args.workers}')
    if args.cfg_options and not args.config:
        parser.error('--cfg-options changes a config: give one with --config')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Verify; `argv` stands for the command line."""
    args = parse_args(argv)
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from mae.datasets import verify, write_quarantine
    from mae.registry import DATASETS
    from mae.utils.text import printable

    configs = (
        from_config(args.config, args.cfg_options)
        if args.config
        else {'': folder_dataset(args.root)}
    )
    datasets = {name: DATASETS.build(config) for name, config in configs.items()}
    total = sum(map(len, datasets.values()))
    console = Console(soft_wrap=True)
    bad: dict[str, str] = {}
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for name, dataset in datasets.items():
            task = progress.add_task(name or printable(args.root), total=len(dataset))
            for checked in verify(dataset, args.workers):
                progress.advance(task)
                path = os.path.relpath(checked.path, args.root) if args.root else checked.path
                if checked.reason is not None and path not in bad:
                    bad[path] = checked.reason
                    line = printable(f'{path}: {checked.reason}')
                    console.print(line, markup=False, highlight=False)
    console.print(f'{total} images checked, {len(bad)} bad', highlight=False)
    if args.out:
        write_quarantine(args.out, bad.items())
    if bad:
        sys.exit(1)


def folder_dataset(root: str) -> dict[str, Any]:
    """The config of a dataset of all images below a folder."""
    source = {'type': 'ImageFolder', 'root': root, 'labelled': False}
    pipeline = [{'type': 'DecodeImage'}, {'type': 'PackInputs'}]
    return {'type': 'SeededDataset', 'source': source, 'pipeline': pipeline}


def from_config(path: str, options: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """The datasets of a config, each once, with what is in quarantine checked again."""
    from mae.apis import load_config
    from mae.config import parse_options

    config = load_config(path, parse_options(options))
    loaders = {
        'train': config.get('train_dataloader'),
        'val': config.get('val_dataloader'),
        'test': config.get('test_dataloader'),
        'bank': (config.get('test_cfg') or {}).get('bank_dataloader'),
    }
    datasets: dict[str, dict[str, Any]] = {}
    for name, loader in loaders.items():
        if loader:
            dataset = loader['dataset'].to_dict()
            dataset.pop('quarantine', None)
            if dataset not in datasets.values():
                datasets[name] = dataset
    return datasets


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
