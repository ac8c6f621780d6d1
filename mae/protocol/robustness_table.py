"""The table of `evaluate_robustness` as Markdown and as HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

from mae.protocol.render import markdown_table
from mae.visualization import report


def table_cells(row: Mapping[str, Any]) -> Sequence[str]:
    """Set, metric, ours, published and number of images of a row."""
    published = '' if row['published'] is None else f'{row["published"]:.1f}'
    images = '' if row['num_samples'] is None else f'{row["num_samples"]:,.0f}'
    return row['title'], row['metric'], f'{row["ours"]:.2f}', published, images


TABLE_HEAD = ('set', 'metric', 'ours', 'published', 'images')


def table_remarks(table: Mapping[str, Any]) -> list[str]:
    """Sets that were not evaluated, and what to know about the numbers of ImageNet-C."""
    remarks = [
        f'not on the disk: {dataset["title"]} ({" or ".join(dataset["folders"])})'
        for dataset in table['missing']
    ]
    for row in table['rows']:
        if 'mean_error' in row['metrics']:
            error = row['metrics']['mean_error']
            remarks.append(f'{row["title"]}: mean error without normalisation {error:.2f}')
        if row['metric'] != 'mce' and row['key'] == 'in-c':
            remarks.append(f'{row["title"]} is not whole: the number is no mCE')
    return remarks


def markdown_page(table: Mapping[str, Any], command: str) -> str:
    """A whole page, ready for the docs."""
    rows = [table_cells(row) for row in table['rows']]
    return '\n'.join(
        [
            f'# Robustness of {_network(table)}',
            '',
            *('```bash', command, '```', ''),
            *markdown_table(TABLE_HEAD, '|---|---|---:|---:|---:|', rows),
            '',
            *(f'- {remark}' for remark in table_remarks(table)),
            '',
            f'Weights: {table["checkpoint"]}, SHA-256 {table["sha256"][:8]}.',
            '',
        ]
    )


def html_page(table: Mapping[str, Any], command: str) -> str:
    """A whole page, which also has the errors of each corruption of ImageNet-C."""
    parts = [report.table(TABLE_HEAD, [table_cells(row) for row in table['rows']])]
    parts += [report.paragraph(remark) for remark in table_remarks(table)]
    for row in table['rows']:
        if errors := _error_rows(row['metrics']):
            head = ('corruption', 'CE', 'error', *(f'severity {n}' for n in range(1, 6)))
            parts.append(report.section(f'{row["title"]}, percent', report.table(head, errors)))
    parts.append(report.section('Command', report.commands(command)))
    versions = list(table['versions'].items())
    parts.append(report.section('Versions', report.table(('software', 'version'), versions)))
    return report.page(f'Robustness of {_network(table)}', *parts)


def _error_rows(metrics: Mapping[str, float]) -> list[list[str]]:
    names = dict.fromkeys(
        name.removeprefix('error_').rpartition('_')[0]
        for name in metrics
        if name.startswith('error_') and name[-1] in '12345'
    )
    keys = [
        (name, [f'ce_{name}', f'error_{name}', *(f'error_{name}_{n}' for n in range(1, 6))])
        for name in names
    ]
    return [
        [name, *(f'{metrics[key]:.1f}' if key in metrics else '' for key in row)]
        for name, row in keys
    ]


def _network(table: Mapping[str, Any]) -> str:
    size = '' if table['size'] == 224 else f' at {table["size"]} pixels'
    return f'{table["arch"]}{size}'
