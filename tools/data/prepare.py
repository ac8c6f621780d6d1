"""Check that a data set on the disk is complete, and write the lists that configs read."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the names come from the catalogue, which imports nothing heavy."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit code 0 if the set can be used; 1 if not, with what is missing and where it '
        'comes from.',
    )
    parser.add_argument('name', metavar='NAME', help='of the set, such as inat2018 or imagenet-c')
    parser.add_argument('root', type=Path, metavar='ROOT', help='folder of the set')
    parser.add_argument(
        '--md5',
        action='store_true',
        help='compare the archives that lie in ROOT with their published MD5 (minutes each)',
    )
    return parse(parser, argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.datasets.catalogue import CATALOGUE
    from mae.datasets.prepare import examine, source_of
    from mae.utils.errors import ConfigError
    from mae.utils.suggest import did_you_mean
    from mae.utils.text import printable

    if args.name not in CATALOGUE:
        raise ConfigError(f'no data set {args.name!r}{did_you_mean(args.name, CATALOGUE)}')
    published = CATALOGUE[args.name]
    wrong = 0
    for finding in examine(published, args.root, md5=args.md5):
        wrong += not finding.is_right
        print(printable(f'{"ok   " if finding.is_right else "WRONG"}  {finding.text}'), flush=True)
    if wrong:
        print(
            f'{published.title}: not usable, things wrong: {wrong}; it comes from {published.home}'
        )
        print(f'terms: {published.terms}')
        sys.exit(1)
    print(f'{published.title}: usable; terms: {published.terms}')
    print(f'source={source_of(published, args.root)}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
