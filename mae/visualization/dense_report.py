"""Predictions as part of a page, and the page of a dense run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from html import escape
from pathlib import Path

import numpy as np

from mae.utils.files import write_json
from mae.visualization.colours import css_colour
from mae.visualization.curves import Series, line_chart
from mae.visualization.dense import DenseView, legend_of
from mae.visualization.report import (
    PNG,
    columns,
    legend,
    page,
    paragraph,
    png_uri,
    section,
    table,
    tiles,
)
from mae.visualization.runs.logs import Scalars
from mae.visualization.runs.page import learning_curves, training_sections
from mae.visualization.runs.record import PREDICTIONS, RunRecord

Validation = tuple[int, Mapping[str, float]]  # step and metrics

_MAIN = ('miou', 'pixel_accuracy', 'box_ap', 'mask_ap')  # of the metrics, what a chart shows


@dataclass(frozen=True)
class DenseResult:
    """What the last validation of a dense run gave.

    Attributes:
        title: name of the run.
        step: optimizer steps done.
        metrics: by name, in percent.
        cards: for each image its caption, and title and `data:` URI of each picture.
        colours: name and CSS colour of each class that occurs.
        facts: further rows of the page's last table, by name.
    """

    title: str
    step: int
    metrics: Mapping[str, float]
    cards: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    colours: Sequence[tuple[str, str]]
    facts: Mapping[str, str]


def draw_cards(
    views: Sequence[DenseView], names: Sequence[str]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """The `cards` of a `DenseResult`.

    Args:
        views: of one image each.
        names: of the classes, in the order of the labels.
    """
    return [
        (
            view.caption,
            [
                (title, png_uri(np.asarray(picture)))
                for title, picture in zip(view.columns, view.draw(names), strict=True)
            ],
        )
        for view in views
    ]


def colours_of(views: Sequence[DenseView], names: Sequence[str]) -> list[tuple[str, str]]:
    """The `colours` of a `DenseResult`."""
    return [(name, css_colour(colour)) for name, colour in legend_of(views, names)]


def write_result(folder: Path, result: DenseResult) -> None:
    """Keep the result in the `vis_data` of the run, so that its page can be made again.

    Raises:
        OSError: the disk refused.
    """
    write_json(folder / PREDICTIONS, asdict(result), flush=False)


def read_result(folder: Path) -> DenseResult | None:
    """The result in a `vis_data`; None if there is none that `write_result` could have written."""
    try:
        found = json.loads((folder / PREDICTIONS).read_bytes())
        result = DenseResult(**{field.name: found[field.name] for field in fields(DenseResult)})
        metrics = {name: float(value) for name, value in result.metrics.items()}
        pictures = [picture for _, pictures in result.cards for picture in pictures]
        colours = [colour for _, colour in result.colours]
        names = [name for name, _ in (*result.cards, *pictures, *result.colours)]
        is_ours = all(uri.startswith(PNG) for _, uri in pictures) and all(map(_is_colour, colours))
        is_ours = is_ours and isinstance(result.step, int) and isinstance(result.facts, dict)
        texts = [result.title, *names, *result.facts.values()]
        is_ours = is_ours and all(isinstance(text, str) for text in texts)
        return replace(result, metrics=metrics) if is_ours else None
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
        return None


def _is_colour(text: str) -> bool:
    return text.startswith('#') and text[1:].isalnum()


def dense_report(
    result: DenseResult,
    records: Sequence[tuple[int, Scalars]],
    run: RunRecord | None = None,
) -> str:
    """The page of a run.

    Args:
        result: of its last validation.
        records: scalars with their steps, ascending.
        run: adds curves of training, speed, config, commands and versions; None if unknown.
    """
    earlier = [each for each in validations_in(records) if each[0] < result.step]
    validations = [*earlier, (result.step, result.metrics)]
    shown = [(name, f'{result.metrics[name]:.1f} %') for name in _MAIN if name in result.metrics]
    rows = [(name, f'{value:.2f}') for name, value in result.metrics.items()]
    metrics = table(('metric', f'step {result.step:,}'), rows)
    return page(
        result.title,
        paragraph(f'After {result.step:,} steps, on the validation data.', 'lead'),
        tiles(shown),
        _cards_section('What it finds', result.cards, result.colours),
        section('Metrics', columns(_curves(validations), metrics)),
        section('The run', table(('', ''), list(result.facts.items()))),
        *([] if run is None else [learning_curves(run), *training_sections(run)]),
    )


def validations_in(records: Sequence[tuple[int, Scalars]]) -> list[Validation]:
    """Step and metrics of each validation in a log."""
    return [
        (step, {name: record[name] for name in _MAIN if name in record})
        for step, record in records
        if any(name in record for name in _MAIN)
    ]


def predictions_section(title: str, views: Sequence[DenseView], names: Sequence[str]) -> str:
    """Cards of all views and their legend, as a section of a page."""
    return _cards_section(title, draw_cards(views, names), colours_of(views, names))


def _cards_section(
    title: str,
    cards: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    colours: Sequence[tuple[str, str]],
) -> str:
    drawn = []
    for caption, pictures in cards:
        cells = ''.join(
            f'<div><img src="{escape(uri)}" alt="{escape(f"{caption} {name}".strip())}">'
            f'<span>{escape(name)}</span></div>'
            for name, uri in pictures
        )
        below = f'<figcaption>{escape(caption)}</figcaption>' if caption else ''
        drawn.append(f'<figure><div class="views">{cells}</div>{below}</figure>')
    return section(title, legend(colours), f'<div class="dense">{"".join(drawn)}</div>')


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
