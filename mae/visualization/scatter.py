"""Points in a plane as inline SVG, a colour for each class."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from mae.visualization.captions import legend_lines
from mae.visualization.colours import colour_of, css_colour

_SIDE, _EDGE = 460, 12
_LINE, _CHIP = 18, 10
_MOST_NAMES = 20  # of the legend
_Line = list[tuple[float, tuple[int, str]]]  # left edge, class and its name


def scatter_chart(
    points: NDArray[np.floating],
    names: Sequence[str],
    *,
    title: str,
    labels: Sequence[int] = (),
    classes: Sequence[str] = (),
) -> str:
    """An `<svg>` element: a dot for each point, which says its name under the pointer.

    Args:
        points: (M, 2), in any unit; both axes have the same scale.
        names: of the points, M.
        title: for readers who do not see it.
        labels: number of each point's class, M; none draws all in one colour.
        classes: their names, for the legend.
    """
    shown = [number for number in range(len(classes)) if number in set(labels)]
    legend = _legend(shown, classes)
    height = _SIDE + _LINE * len(legend)
    middle = (points.min(0) + points.max(0)) / 2
    half = max(float((points.max(0) - points.min(0)).max()) / 2, 1e-12)
    places = _SIDE / 2 + (points - middle) / half * (_SIDE / 2 - _EDGE)
    radius = 4.5 if len(points) <= 300 else 3 if len(points) <= 2000 else 2
    dots = (
        f'<circle cx="{x:.1f}" cy="{_SIDE - y:.1f}" r="{radius}" fill="{_colour(labels, number)}">'
        f'<title>{escape(_said(number, names, labels, classes))}</title></circle>'
        for number, (x, y) in enumerate(places.tolist())
    )
    return '\n'.join(
        [
            f'<svg class="chart" viewBox="0 0 {_SIDE} {height}" role="img" '
            f'aria-label="{escape(title)}" font-family="inherit" font-size="13">',
            f'<title>{escape(title)}</title>',
            # A thin edge: a dark colour on a dark page, a light one on a light page.
            '<g stroke="currentColor" stroke-opacity=".4" stroke-width=".5">',
            *dots,
            '</g>',
            *(_entry(row, line) for row, line in enumerate(legend)),
            '</svg>',
        ]
    )


def _colour(labels: Sequence[int], number: int) -> str:
    return css_colour(colour_of(labels[number] if labels else 0))


def _said(number: int, names: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> str:
    return f'{names[number]}: {classes[labels[number]]}' if classes else names[number]


def _legend(shown: Sequence[int], classes: Sequence[str]) -> list[_Line]:
    """Lines of classes and their names; -1 is no class."""
    entries = [(number, classes[number]) for number in shown[:_MOST_NAMES]]
    if len(shown) > _MOST_NAMES:
        entries.append((-1, f'and {len(shown) - _MOST_NAMES} more'))
    spaces = [_CHIP + 6 + 7.2 * len(name) + 14 for _, name in entries]  # about that of the text
    return legend_lines(entries, spaces, left=_EDGE, right=_SIDE)


def _entry(row: int, line: _Line) -> str:
    y = _SIDE + _LINE * row
    parts = []
    for left, (number, name) in line:
        if number >= 0:
            place = f'x="{left:.1f}" y="{y}" width="{_CHIP}" height="{_CHIP}"'
            parts.append(f'<rect {place} fill="{css_colour(colour_of(number))}"/>')
        text = left + _CHIP + 6
        parts.append(
            f'<text x="{text:.1f}" y="{y + _CHIP}" fill="currentColor" opacity=".75">'
            f'{escape(name)}</text>'
        )
    return ''.join(parts)
