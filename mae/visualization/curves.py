"""Line charts as inline SVG: no library, no script, colours of the page around them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# A chart is drawn in these units and scaled to the width of the page; small, so that its text
# stays legible on a phone.
_WIDTH, _HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 28, 44
# Used where the page does not set --series-0, --series-1, ...
_COLOURS = ('#2563eb', '#d97706', '#059669', '#9333ea', '#dc2626', '#0891b2')


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: label in the legend.
        x: ascending.
        y: one for each of `x`; points that are not finite are left out and break the line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class _Axis:
    """Maps the values between the first and last tick to drawing units."""

    ticks: list[float]
    start: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def line_chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """An `<svg>` element with axes, grid, legend (for more than one line) and labels.

    Raises:
        ValueError: there is no finite point to draw.
    """
    points = [p for one in series for p in zip(one.x, one.y, strict=True) if _finite(p)]
    if not points:
        raise ValueError(f'the chart {title!r} has no finite point to draw')
    xs, ys = zip(*points, strict=True)
    x = _Axis(nice_ticks(min(xs), max(xs), 6), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(nice_ticks(_floor_of(ys), max(ys), 5), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="inherit" font-size="13">',
        f'<title>{escape(title)}</title>',
        *(_horizontal(y(tick), label) for tick, label in _labelled(y.ticks)),
        *(_vertical(x(tick), label) for tick, label in _labelled(x.ticks)),
        *(_line(one, _colour(i), x, y) for i, one in enumerate(series)),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, 'middle'),
        _text(6, 14, y_label, 'start'),
        *(_legend(series) if len(series) > 1 else ()),
        '</svg>',
    ]
    return '\n'.join(parts)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers, evenly spaced, of which the outer two enclose both ends."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _floor_of(ys: Sequence[float]) -> float:
    """Start at zero unless that would waste most of the chart."""
    return 0.0 if 0 < min(ys) < max(ys) / 2 else min(ys)


def _labelled(ticks: Sequence[float]) -> list[tuple[float, str]]:
    labels = [f'{tick:.6g}' for tick in ticks]
    if any('e' in label for label in labels):
        labels = [f'{tick:.3g}'.replace('e-0', 'e-').replace('e+0', 'e') for tick in ticks]
    return list(zip(ticks, labels, strict=True))


def _horizontal(y: float, label: str) -> str:
    line = f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="currentColor" opacity=".15"/>'
    return line + _text(_LEFT - 8, y + 4, label, 'end')


def _vertical(x: float, label: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    line = f'<path d="M{x:.1f} {bottom}v5" stroke="currentColor" opacity=".5"/>'
    return line + _text(x, bottom + 19, label, 'middle')


def _line(series: Series, colour: str, x: _Axis, y: _Axis) -> str:
    path, pen = [], 'M'
    for point in zip(series.x, series.y, strict=True):
        if _finite(point):
            dot = 'h0' if pen == 'M' else ''  # so that a point alone shows too
            path.append(f'{pen}{x(point[0]):.1f} {y(point[1]):.1f}{dot}')
        pen = 'L' if _finite(point) else 'M'
    style = f'style="stroke:{colour}" fill="none" stroke-width="2" stroke-linejoin="round"'
    return f'<path d="{"".join(path)}" {style} stroke-linecap="round"/>'


def _legend(series: Sequence[Series]) -> list[str]:
    parts, right = [], float(_WIDTH - _RIGHT)
    for i, one in reversed(list(enumerate(series))):
        parts.append(_text(right, 14, one.name, 'end'))
        right -= 7.2 * len(one.name) + 6  # about the width of the text
        stroke = f'style="stroke:{_colour(i)}" stroke-width="3" stroke-linecap="round"'
        parts.append(f'<path d="M{right - 16:.1f} 10H{right:.1f}" {stroke}/>')
        right -= 30
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor" opacity=".75">{escape(text)}</text>'


def _colour(index: int) -> str:
    return f'var(--series-{index},{_COLOURS[index % len(_COLOURS)]})'


def _finite(point: tuple[float, float]) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])
