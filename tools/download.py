"""Fetch published weights, verified, with their licence."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'name',
        nargs='?',
        help='a name that --list shows, a file name in it, or an https:// address',
    )
    parser.add_argument(
        '--dest',
        type=Path,
        metavar='DIR',
        help='folder for the file (default: weights in MAE_HOME, or in ~/.cache/mae)',
    )
    parser.add_argument(
        '--mirror',
        metavar='URL',
        help='address of a folder that serves the files, instead of their publishers',
    )
    parser.add_argument(
        '--list', nargs='?', const='*', metavar='PATTERN', help='show the names, e.g. *base*400e*'
    )
    args = parse(parser, argv)
    if (args.name is None) == (args.list is None):
        parser.error('give a name, or --list')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Download or list; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.apis import fetch, list_models
    from mae.apis.zoo import find_model

    if args.list is not None:
        names = list_models(args.list)
        if not names:
            raise ValueError(f'no published weights match {args.list!r}; --list alone shows all')
        for name in names:
            entry = find_model(name)
            print(f'{name}\n    {entry.file}, {entry.source}, {entry.license}')
        return
    source = args.name if '://' in args.name else find_model(args.name)
    print(fetch(source, args.dest, args.mirror))


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
