"""The result of a benchmark: a table to read and JSON to keep."""

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console
from rich.table import Table

from mae.benchmark import OURS
from mae.benchmark.measure import Timing, quartiles
from mae.utils.files import require_replaceable, write_json
from mae.utils.hardware import software

Report = dict[str, Any]
Figures = dict[str, Any]

# Relative tolerance of the figure that all systems must agree on.
_TOLERANCE = {'float32': 1e-4, 'bfloat16': 1e-2}
_WIDTH = 110  # that the table needs, also where the output is a file
# Columns of the table: key of a system's figures, heading, how to write the value.
_COLUMNS = (
    ('images_per_second', 'images/s', '{:,.4g}'),
    ('milliseconds_per_iteration', 'ms/iteration', '{:.3f}'),
    ('overhead_milliseconds', 'overhead, ms', '{:.3f}'),
    ('idle_overhead_milliseconds', 'idle step, ms', '{:.3f}'),
    ('error_cpu_seconds', 'error, CPU s', '{:.2f}'),
    ('first_step_cpu_seconds', 'first step, CPU s', '{:.2f}'),
    ('spread', 'spread', '{:.1%}'),
    ('tflops', 'TFLOP/s', '{:.4g}'),
    ('share_of_peak', 'of peak', '{:.0%}'),
    ('activation_bytes_per_image', 'MiB/image', '{:.1f}'),
    ('peak_memory_bytes', 'peak, GiB', '{:.2f}'),
    ('loss', 'loss', '{:.5f}'),
    ('check', 'check', '{:.5f}'),
    ('switch', 'switch', '{}'),
)
_UNITS = {'activation_bytes_per_image': 2**20, 'peak_memory_bytes': 2**30}  # of the headings


def throughput(timing: Timing, images: int) -> Figures:
    """Figures of a system that handles `images` in a unit of work."""
    return {
        'images_per_second': images / timing.median,
        'spread': timing.spread,
        'seconds_per_step': timing.median,
        'rounds': list(timing.rounds),
    }


def build_report(
    task: str,
    systems: Mapping[str, Figures],
    *,
    machine: Mapping[str, Any],
    config: str,
    skipped: Mapping[str, str] | None = None,
    command: str = '',
    **more: Any,
) -> Report:
    """The content of the JSON file.

    Args:
        task: name of the benchmark.
        systems: figures by name, ours under 'mae'; all of a kind.
        machine: from `mae.benchmark.measure.machine_facts`.
        config: name of the config.
        skipped: peers that did not run, and why.
        command: the command line.
        more: further facts, such as the batch size.
    """
    return {
        'task': task,
        'device': machine['name'],
        'config': config,
        'command': command,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        **more,
        'systems': {name: dict(figures) for name, figures in systems.items()},
        **ratios(systems),
        'agree': agreement(systems, _TOLERANCE[str(more.get('dtype', 'float32'))]),
        'skipped': dict(skipped or {}),
        'machine': dict(machine),
        'versions': software('transformers', 'lightly', 'pillow'),
    }


def ratios(systems: Mapping[str, Figures]) -> dict[str, Any]:
    """Ours over each peer: the medians' ratio, and the quartiles of the rounds' ratios.

    A round holds all systems within seconds of each other, so its ratio is free of what else the
    machine did in other rounds. A name may end in ' at <place>': it is compared with ours at that
    place.
    """
    found: dict[str, Any] = {'ratio': {}, 'ratio_quartiles': {}}
    for name, figures in systems.items():
        peer, mark, place = name.partition(' at ')
        ours = systems.get(OURS + mark + place)
        if peer == OURS or ours is None:
            continue
        pairs = zip(figures['rounds'], ours['rounds'], strict=True)
        found['ratio'][name] = figures['seconds_per_step'] / ours['seconds_per_step']
        found['ratio_quartiles'][name] = quartiles(tuple(theirs / own for theirs, own in pairs))
    return found


def agreement(systems: Mapping[str, Figures], tolerance: float) -> dict[str, bool]:
    """Whether each peer computes what ours does, by its loss or check on the same batch."""
    found = {}
    for name, figures in systems.items():
        for key in ('loss', 'check'):
            if name != OURS and key in figures:
                ours = systems[OURS][key]
                found[name] = abs(figures[key] - ours) <= tolerance * abs(ours)
    return found


def show(report: Report, console: Console | None = None) -> None:
    """Print the table; columns that no system has are left out."""
    systems, ratio = report['systems'], report['ratio']
    columns = [c for c in _COLUMNS if any(f.get(c[0]) not in (None, '') for f in systems.values())]
    title = f'{report["task"]}: {report["config"]}, {report["device"]}'
    title += ', seconds of the processor' if report.get('cpu_time') else ''
    table = Table('system', *(heading for _, heading, _ in columns), 'ours/theirs', title=title)
    for name, figures in systems.items():
        cells = [_cell(figures.get(key), layout, key) for key, _, layout in columns]
        table.add_row(name, *cells, f'{ratio[name]:.2f}' if name in ratio else '')
    console = console or Console(width=max(Console().width, _WIDTH))
    console.print(table)
    for name, agrees in report['agree'].items():
        if not agrees:
            console.print(f'warning: {name} computes something else: compare no speed with it')
    for name, rate in report.get('knn', {}).get('queries_per_second', {}).items():
        console.print(f'k-NN in {report["knn"]["bank"]:,}: {name} {rate:,.4g} queries/s')


def prepare_output(path: Path) -> None:
    """Make the folder that a report is to be written into.

    Raises:
        ValueError: `path` is a folder itself, or lies in what is none.
        OSError: the folder cannot be made, or not be written into, or `path` is a device.
    """
    if path.is_dir():
        raise ValueError(f'{path} is a folder; a file of that name is to be written')
    if (folder := path.parent).exists() and not folder.is_dir():
        raise ValueError(f'{folder} is a file; {path.name} is to be written into a folder')
    folder.mkdir(parents=True, exist_ok=True)
    require_replaceable(path)
    with TemporaryFile(dir=path.parent):
        pass


def write_report(report: Report, path: Path) -> None:
    """Write the report as JSON, whole or not at all."""
    write_json(path, report)


def _cell(value: Any, layout: str, key: str) -> str:
    if value is None:
        return ''
    return layout.format(value / _UNITS[key] if key in _UNITS else value)
