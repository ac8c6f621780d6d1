"""Write the page of a run from its work dir, or one page that compares several runs.

Runs whose configs differ in the seed alone are averaged, with error bars.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='work dir of a run')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE.html',
        help='page to write (default: report.html in the work dir of one run, comparison.html here '
        'of several)',
    )
    parser.add_argument('--open', action='store_true', help='show the page in a browser')
    args = parse(parser, argv)
    if args.out is not None and args.out.suffix != '.html':
        parser.error(f'--out must end in .html, not {args.out}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Write the page; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis.report import report_runs

    path = report_runs(args.runs, args.out)
    print(f'wrote {path}')
    if args.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
