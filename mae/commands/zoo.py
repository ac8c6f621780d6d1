"""Fetch published weights, verified, with their licence."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of `tools/download.py`, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    _add_file(parser, nargs='?')
    parser.add_argument(
        '--list', nargs='?', const='*', metavar='PATTERN', help='show the names, e.g. *base*400e*'
    )
    args = parse(parser, argv)
    if (args.name is None) == (args.list is None):
        parser.error('give a name, or --list')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Download or list; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    if args.list is not None:
        _show(args.list)
    else:
        _fetch(args)


def zoo_list(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Show names, files, publishers and licences; `argv` stands for the command line."""
    parser = argparse.ArgumentParser(prog=prog, description='Names of published weights.')
    parser.add_argument(
        'pattern', nargs='?', default='*', metavar='PATTERN', help='e.g. *base*400e* (default: all)'
    )
    _show(parse(parser, argv).pattern)


def zoo_get(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Download; `argv` stands for the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    _add_file(parser)
    _fetch(parse(parser, argv))


def zoo_push(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Push a folder to the Hub; `argv` stands for the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Push a folder that `mae zoo convert` wrote for transformers or timm to the '
        'Hugging Face Hub, in one commit. Needs a token: `hf auth login`, or HF_TOKEN.',
    )
    parser.add_argument('folder', help='with weights, config.json and README.md')
    parser.add_argument('name', metavar='OWNER/NAME', help='made if it is not there')
    parser.add_argument(
        '--private', action='store_true', help='only its owner can see it, where it is made'
    )
    args = parse(parser, argv)
    if not sys.stderr.isatty():  # huggingface_hub reads it when it is imported
        os.environ.setdefault('HF_HUB_DISABLE_PROGRESS_BARS', '1')
    from mae.apis import push_to_hub

    done = push_to_hub(args.folder, args.name, private=args.private)
    for line in done.notes:
        print(line)
    print(f'pushed {", ".join(done.files)} to {done.url}')


def _add_file(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument(
        'name',
        nargs=nargs,
        help='a name that `mae zoo list` shows, a file name in it, or an https:// address',
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


def _show(pattern: str) -> None:
    from mae.apis import list_models
    from mae.apis.zoo import find_model

    names = list_models(pattern)
    if not names:
        raise ValueError(f'no published weights match {pattern!r}; `mae zoo list` shows all')
    for name in names:
        entry = find_model(name)
        print(f'{name}\n    {entry.file}, {entry.source}, {entry.license}')


def _fetch(args: argparse.Namespace) -> None:
    from mae.apis import fetch
    from mae.apis.zoo import find_model

    source = args.name if '://' in args.name else find_model(args.name)
    print(fetch(source, args.dest, args.mirror))
