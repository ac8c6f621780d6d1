"""The logged scalars of runs: first, last, lowest and highest value of each, and seconds a step."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mae.commands.arguments import CHART, require_place
from mae.utils.command_line import parse
from mae.utils.text import counted


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        'runs', nargs='+', type=Path, metavar='RUN', help='work dirs, or scalars.json files'
    )
    parser.add_argument(
        '--keys', nargs='+', metavar='NAME', help='scalars, such as loss lr top1 (default: all)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE',
        help='.svg or .html: a curve of the first of --keys (default: loss) of each run',
    )
    args = parse(parser, argv)
    if args.out is not None and args.out.suffix.lower() not in CHART:
        parser.error(f'--out must end in {" or ".join(CHART)}, not {args.out}')
    if args.out is not None:
        require_place(args.out)
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Print tables, and draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis.log_picture import log_chart, read_log
    from mae.visualization.figures import save_figure
    from mae.visualization.runs.log_table import scalar_rows, split_records

    logs = {str(run): read_log(run) for run in args.runs}
    runs = {run: split_records(log) for run, log in logs.items()}
    records = [record for parts in runs.values() for part in parts for _, record in part]
    known = {key for record in records for key in record}
    _require(args.keys or (), known)
    for run, (training, evaluation) in runs.items():
        print(_head(run, logs[run], [record for _, record in training]))
        _print_table('training', scalar_rows(training), args.keys)
        _print_table('evaluation', scalar_rows(evaluation), args.keys)
    if args.out is not None:
        read = [logs[str(run)] for run in args.runs]
        save_figure(log_chart(args.runs, read, (args.keys or ['loss'])[0]), args.out)
        print(f'wrote {args.out}')


def _head(run: str, log: list[dict[str, float]], training: list[dict[str, float]]) -> str:
    from mae.visualization.runs.logs import seconds_per_step, steps_rolled_back

    seconds, gone = seconds_per_step(training), steps_rolled_back(log)
    facts = [] if seconds is None else [f'{seconds:.4g} s a step']
    facts += [f'{counted(gone, "step was", "steps were")} rolled back and left out'] if gone else []
    return f'{run}: {"; ".join(facts)}' if facts else run


def _require(keys: Sequence[str], known: set[str]) -> None:
    from mae.utils.errors import ConfigError
    from mae.utils.suggest import did_you_mean

    for key in keys:
        if key not in known:
            raise ConfigError(f'--keys: nothing was logged as {key}{did_you_mean(key, known)}')


def _print_table(title: str, rows: Sequence[Any], keys: Sequence[str] | None) -> None:
    """Rows of one kind of records, extremes with their steps; nothing if there is none."""
    from rich.console import Console
    from rich.table import Table

    chosen = [row for row in rows if keys is None or row.name in keys]
    if not chosen:
        return
    columns = ('values', 'first', 'last', 'lowest', 'highest')
    table = Table(title, *columns)
    for row in chosen:
        count = f'{row.count} + {row.broken} broken' if row.broken else str(row.count)
        ends = (f'{each.value:.5g}' for each in (row.first, row.last))
        outer = (f'{each.value:.5g} at {each.step}' for each in (row.lowest, row.highest))
        table.add_row(row.name, count, *ends, *outer)
    Console().print(table)
