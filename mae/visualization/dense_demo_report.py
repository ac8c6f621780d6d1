"""The report of `make demo ARGS=--dense`: every number in it comes from its summary or its logs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mae.utils.text import counted
from mae.visualization.clock import clock
from mae.visualization.curves import Series, line_chart
from mae.visualization.dense import DenseView
from mae.visualization.dense_report import predictions_section
from mae.visualization.report import (
    charts,
    columns,
    commands,
    page,
    paragraph,
    section,
    table,
    tiles,
)
from mae.visualization.runs.logs import Scalars, with_key

METRIC_NAMES = {'miou': 'mIoU', 'box_ap': 'box AP', 'mask_ap': 'mask AP'}
START_NAMES = {'scratch': 'from scratch', 'frozen': 'frozen', 'finetune': 'fine-tuned'}
_TASKS = {'seg': 'segmentation', 'det': 'detection'}
_HEAD = ('%', *START_NAMES.values(), 'ahead', 'beyond all seeds')

_Result = Mapping[str, Any]


def dense_table(results: Sequence[_Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows, one for each metric and number of scenes.

    Args:
        results: `results` of summary.json.
    """
    rows = [
        (
            f'{METRIC_NAMES[found["metric"]]}, {found["scenes"]:,} scenes',
            *(spread(found[start]) for start in START_NAMES),
            f'{found["margin"]:+.1f}',
            'yes' if found['is_beyond_spread'] else 'no',
        )
        for found in results
    ]
    return _HEAD, rows


def spread(row: _Result) -> str:
    """Mean and, of several seeds, their standard deviation."""
    return f'{row["mean"]:.1f}' + ('' if row['std'] is None else f' ± {row["std"]:.1f}')


def dense_demo_report(
    summary: _Result,
    records: Sequence[Scalars],
    views: Mapping[str, Mapping[str, Sequence[DenseView]]],
    names: Mapping[str, Sequence[str]],
) -> str:
    """The page as HTML.

    Args:
        summary: what `tools/demo.py --dense` writes to summary.json.
        records: log of the pre-training.
        views: of the same scenes, by task ('seg', 'det') and start of the model.
        names: of the classes, by task.
    """
    loss = with_key(records, 'loss')
    curve = Series('', [r['epoch'] for r in loss], [r['loss'] for r in loss])
    return page(
        'Segmentation and detection of handwritten digits',
        paragraph(_lead(summary), 'lead'),
        _tiles(summary),
        section('Results', table(*dense_table(summary['results'])), paragraph(_note(), 'note')),
        *(
            predictions_section(_title(summary, task, start), found, names[task])
            for task, starts in views.items()
            for start, found in starts.items()
        ),
        section('Rates of the baseline', *_grids(summary)),
        section(
            'Pre-training',
            charts(line_chart([curve], title='Loss', x_label='epoch', y_label='loss')),
        ),
        section('Commands', *_commands(summary)),
        section('Time and versions', *_time_and_versions(summary)),
    )


def _lead(summary: _Result) -> str:
    setup = summary['setup']
    few = setup['labelled_scenes'][0]
    found = [r for r in summary['results'] if r['scenes'] == few]
    pairs = [(r['metric'], r['finetune']['mean'], r['scratch']['mean']) for r in found]
    figures = ', '.join(f'{METRIC_NAMES[name]} {a:.1f} against {b:.1f}' for name, a, b in pairs)
    return (
        f'A small vision transformer filled in {100 * setup["mask_ratio"]:.0f} % of each of '
        f'{setup["train_scenes"]:,} scenes without labels. On {few} labelled scenes it then '
        f'learned to segment and to detect, beside the same network from random weights: {figures}.'
    )


def _tiles(summary: _Result) -> str:
    facts = [
        (
            f'{METRIC_NAMES[r["metric"]]}, {r["scenes"]:,} scenes',
            f'{r["finetune"]["mean"]:.1f} ({r["margin"]:+.1f})',
        )
        for r in summary['results']
    ]
    return tiles([*facts, ('whole demo', clock(summary['seconds']['total']))])


def _note() -> str:
    return (
        'Mean and standard deviation of three seeds, each with other labelled scenes; the '
        'validation scenes are of other handwriting. Frozen and fine-tuned start from the '
        'pre-trained encoder, at the one rate their config states; from scratch, the rate of the '
        'grid with the best mean counts, chosen by the scenes that also give the result, which '
        'favours the baseline. The last column: whether every fine-tuned seed is ahead of every '
        'seed from scratch.'
    )


def _title(summary: _Result, task: str, start: str) -> str:
    few = summary['setup']['labelled_scenes'][0]
    return f'{_TASKS[task].capitalize()}, {START_NAMES[start]}, {few} scenes'


def _grids(summary: _Result) -> list[str]:
    seeds = [f'seed {seed}' for seed in summary['setup']['seeds']]
    parts = []
    for found in summary['results']:
        metric, scratch = found['metric'], found['scratch']
        rows = [
            (f'{trial["base_lr"]:g}', *(f'{x:.1f}' for x in trial[metric]), spread(trial))
            for trial in scratch['grid']
        ]
        title = f'{METRIC_NAMES[metric]}, {found["scenes"]:,} scenes: base_lr'
        parts.append(table((title, *seeds, 'mean ± std'), rows))
        if scratch['is_best_at_edge']:
            edge = 'The best one lies at the edge of the grid: a wider grid might raise it.'
            parts.append(paragraph(edge, 'note'))
    return parts


def _commands(summary: _Result) -> list[str]:
    return [
        paragraph('From the root of the repository, with the environment of make demo active:'),
        commands('export CUDA_VISIBLE_DEVICES=  # the CPU does it all', *summary['commands']),
    ]


def _time_and_versions(summary: _Result) -> list[str]:
    parts = [(name, clock(value)) for name, value in summary['seconds'].items()]
    cores = summary['setup']['cores']
    return [
        columns(
            table(('part', 'min:s'), parts),
            table(('software', 'version'), list(summary['versions'].items())),
        ),
        paragraph(
            f'On {counted(cores, "core")} of {summary["setup"]["cpu"]}. A run takes one core and '
            f'they go {cores} at a time, so the parts add up to more than the total.',
            'note',
        ),
    ]
