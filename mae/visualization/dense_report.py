"""Predictions as part of a page, and the page of a dense run."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from mae.visualization.colours import css_colour
from mae.visualization.curves import Series, line_chart
from mae.visualization.dense import DenseView, legend_of
from mae.visualization.report import (
    columns,
    legend,
    page,
    paragraph,
    png_uri,
    section,
    table,
    tiles,
)
from mae.visualization.runs.logs import Scalars, with_steps

Validation = tuple[int, Mapping[str, float]]  # step and metrics

_MAIN = ('miou', 'pixel_accuracy', 'box_ap', 'mask_ap')  # of the metrics, what a chart shows


def dense_report(
    title: str,
    validations: Sequence[Validation],
    views: Sequence[DenseView],
    names: Sequence[str],
    facts: Mapping[str, str],
    more: Sequence[str] = (),
) -> str:
    """The page of a run, after a validation.

    Args:
        title: name of the run.
        validations: step and metrics of each validation so far, the last of them at least.
        views: of the last validation.
        names: of the classes, in the order of the labels.
        facts: further rows of the last table, by name.
        more: further sections, as HTML.
    """
    step, last = validations[-1]
    shown = [(name, f'{last[name]:.1f} %') for name in _MAIN if name in last]
    rows = [(name, f'{value:.2f}') for name, value in last.items()]
    return page(
        title,
        paragraph(f'After {step:,} steps, on the validation data.', 'lead'),
        tiles(shown),
        predictions_section('What it finds', views, names),
        section(
            'Metrics', columns(_curves(validations), table(('metric', f'step {step:,}'), rows))
        ),
        section('The run', table(('', ''), list(facts.items()))),
        *more,
    )


def validations_in(records: Sequence[Scalars]) -> list[Validation]:
    """Step and metrics of each validation in a log, whose own lines count epochs."""
    return [
        (step, {name: record[name] for name in _MAIN if name in record})
        for step, record in with_steps(records)
        if any(name in record for name in _MAIN)
    ]


def predictions_section(title: str, views: Sequence[DenseView], names: Sequence[str]) -> str:
    """Cards of all views and their legend, as a section of a page."""
    cards = []
    for view in views:
        cells = ''.join(
            f'<div><img src="{png_uri(np.asarray(picture))}" '
            f'alt="{escape(f"{view.caption} {name}".strip())}"><span>{name}</span></div>'
            for name, picture in zip(view.columns, view.draw(names), strict=True)
        )
        caption = f'<figcaption>{escape(view.caption)}</figcaption>' if view.caption else ''
        cards.append(f'<figure><div class="views">{cells}</div>{caption}</figure>')
    colours = legend((name, css_colour(colour)) for name, colour in legend_of(views, names))
    return section(title, colours, f'<div class="dense">{"".join(cards)}</div>')


def _curves(validations: Sequence[Validation]) -> str:
    if len(validations) < 2:
        return paragraph('One validation so far.', 'note')
    names = [name for name in _MAIN if name in validations[-1][1]]
    lines = [
        Series(
            name,
            [step for step, metrics in validations if name in metrics],
            [metrics[name] for _, metrics in validations if name in metrics],
        )
        for name in names
    ]
    if not lines:
        return paragraph('The metrics are none that are drawn.', 'note')
    chart = line_chart(lines, title='validation', x_label='step', y_label='%')
    return f'<figure>{chart}</figure>'
