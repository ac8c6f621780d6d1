"""The table of a protocol as Markdown and as HTML."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mae.utils.files import write_json
from mae.utils.text import counted
from mae.visualization import report
from mae.visualization.clock import clock


def write_table(table: Mapping[str, Any], folder: Path, markdown_file: Path | None = None) -> None:
    """protocol.json, protocol.md and protocol.html, and the Markdown elsewhere too."""
    write_json(folder / 'protocol.json', table)
    (folder / 'protocol.md').write_text(markdown(table), encoding='utf-8')
    (folder / 'protocol.html').write_text(html(table), encoding='utf-8')
    if markdown_file is not None:
        markdown_file.write_text(markdown(table), encoding='utf-8')


def markdown(table: Mapping[str, Any]) -> str:
    """A whole page, ready for the docs."""
    rows = [[*cells[:5], f'`{cells[5]}`'] for cells in _rows(table)]
    lines = [
        f'# {_title(table)}',
        '',
        '```bash',
        table['command'],
        '```',
        '',
        *markdown_table(_head(table), '|---|---:|---:|---:|---:|---|', rows),
        '',
        *_paragraphs(_notes(table)),
        *(['## Order', ''] if table['order'] else []),
        *_paragraphs([f'- {remark}' for remark in table['order']]),
        '## Versions',
        '',
        ', '.join(f'{name} {version}' for name, version in table['versions'].items()) + '.',
    ]
    return '\n'.join(lines) + '\n'


def markdown_table(head: Sequence[str], rule: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table.

    Args:
        head: one cell for each column.
        rule: the line below the head, which aligns the columns, such as '|---|---:|'.
        rows: cells of each row.
    """
    first, *others = ('| ' + ' | '.join(cells) + ' |' for cells in (head, *rows))
    return [first, rule, *others]


def html(table: Mapping[str, Any]) -> str:
    """A page of its own, with all commands."""
    rows = [row for row in (table['pretrain'], *table['rows']) if row.get('commands')]
    commands = dict.fromkeys(line for row in rows for line in row['commands'])
    return report.page(
        _title(table),
        report.table(_head(table), _rows(table)),
        *(report.paragraph(note) for note in _notes(table)),
        *_order(table),
        report.section('Commands', report.commands(table['command'], *commands)),
        report.section(
            'Versions', report.table(('software', 'version'), list(table['versions'].items()))
        ),
    )


def cells_of(row: Mapping[str, Any]) -> list[str]:
    """Title, mean, spread and number of runs."""
    return [row['title'], *_figures(row), str(len(row['top1']))]


def _figures(row: Mapping[str, Any]) -> list[str]:
    """Mean and spread."""
    return [f'{row["mean"]:.1f}', '' if row['std'] is None else f'± {row["std"]:.1f}']


def _rows(table: Mapping[str, Any]) -> list[list[str]]:
    cost = _cost(table)
    rows = [[*cells_of(row), clock(row[cost]), row['config']] for row in table['rows']]
    pretrain = table['pretrain']
    if 'config' in pretrain:
        rows.insert(0, ['pre-training', '', '', '1', clock(pretrain[cost]), pretrain['config']])
    return rows


def _cost(table: Mapping[str, Any]) -> str:
    """Which time counts: on CPUs the CPU time, which other load hardly changes, if all have it."""
    on_cpu = table['device'] == 'CPU core' and table.get('cpu_seconds') is not None
    return 'cpu_seconds' if on_cpu else 'device_seconds'


def _title(table: Mapping[str, Any]) -> str:
    return f'The protocol of {table["arch"]}'


def _head(table: Mapping[str, Any]) -> list[str]:
    unit = 'CPU time' if _cost(table) == 'cpu_seconds' else table['device']
    return ['protocol', 'top-1, %', 'spread', 'runs', f'{unit}, min:s', 'config']


def _notes(table: Mapping[str, Any]) -> list[str]:
    pretrain = table['pretrain']
    notes = [
        'Mean of the top-1 at the end of each run, and standard deviation between the seeds: of '
        'the head, the order of the samples, and the choice of labels where not all are known. '
        'Partial fine-tuning of all blocks is fine-tuning on all labels: the same runs.'
    ]
    notes += [_grid_note(row) for row in table['rows'] if 'grid' in row]
    if pretrain:
        text = f'Weights: {pretrain["checkpoint"]}, SHA-256 {pretrain["sha256"][:8]}'
        if 'loss' in pretrain:
            text += f', pre-trained once, last loss {pretrain["loss"]:.4f}'
        notes.append(f'{text}.')
    return [*notes, _time_note(table)]


def _time_note(table: Mapping[str, Any]) -> str:
    cost = _cost(table)
    unit = 'CPU time' if cost == 'cpu_seconds' else f'one {table["device"]} by the clock'
    return (
        f'Time: {clock(table["seconds"])} (min:s) of runs by the clock, '
        f'{clock(table[cost])} of {unit}; '
        f'on {counted(table["devices"], table["device"])}, {table["machine"]}.'
    )


def _grid_note(row: Mapping[str, Any]) -> str:
    """Results of a grid of learning rates, and which one counts."""
    trials = ', '.join(f'{t["base_lr"]:g}: {" ".join(_figures(t)).strip()}' for t in row['grid'])
    edge = ', at the edge of the grid: a wider one might hold a better rate'
    return (
        f'Top-1 by base_lr, {row["title"]}: {trials}. The best mean counts, '
        f'{row["base_lr"]:g}{edge if row["is_best_at_edge"] else ""}.'
    )


def _order(table: Mapping[str, Any]) -> list[str]:
    remarks = [report.paragraph(remark) for remark in table['order']]
    return [report.section('Order', *remarks)] if remarks else []


def _paragraphs(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in (text, '')]
