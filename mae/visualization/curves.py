"""Line charts as inline SVG: no library, no script, colours of the page around them.

The values under the pointer are shown by the style of the page (`.at`, `.tip`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

# A chart is drawn in these units and scaled to the width of the page; small, so that its text
# stays legible on a phone.
_WIDTH, _HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 22, 28, 44
# Used where the page does not set --series-0, --series-1, ...
_COLOURS = ('#2563eb', '#d97706', '#059669', '#9333ea', '#dc2626', '#0891b2')
_MOST_LETTERS = 7  # of a number at the left, for which there is room
_MOST_POINTS = 300  # of a line that `thinned` leaves: more than the chart has pixels for
_MOST_TIPS = 80  # places along the x axis at which values are shown
_MOST_BARS = 12  # of a line with error bars
_SMOOTHED = 0.02  # of the number of points: about how many a smoothed one averages
_FEWEST_TO_SMOOTH = 20


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: label in the legend.
        x: ascending.
        y: one for each of `x`; points that are not finite are left out and break the line.
        spread: deviation of each of `y`, drawn as error bars; empty: none.
        colour: number of its colour; None: by its place among the lines.
        faint: the raw values behind a smoothed line, which have neither legend nor tips.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    colour: int | None = None
    faint: bool = False


@dataclass(frozen=True)
class _Axis:
    """Maps the values between the first and last tick to drawing units."""

    ticks: list[float]
    start: float
    end: float
    scale: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        low, high = self.scale(self.ticks[0]), self.scale(self.ticks[-1])
        return self.start + (self.scale(value) - low) / (high - low) * (self.end - self.start)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log: bool = False,
    tips: bool = False,
) -> str:
    """An `<svg>` element with axes, grid, legend (for more than one line) and labels.

    Args:
        log: a logarithmic y axis, on which only positive values have a place.
        tips: show the values under the pointer.

    Raises:
        ValueError: there is no finite point to draw.
    """
    series = [_coloured(one, i, log=log) for i, one in enumerate(series)]
    points = [p for one in series for p in _with_bars(one) if _finite(p)]
    if not points:
        raise ValueError(f'the chart {title!r} has no finite point to draw')
    xs, ys = zip(*points, strict=True)
    x = _Axis(nice_ticks(min(xs), max(xs), 6), _LEFT, _WIDTH - _RIGHT)
    bottom = _HEIGHT - _BOTTOM
    if log:
        y = _Axis(log_ticks(min(ys), max(ys)), bottom, _TOP, math.log10)
    else:
        y = _Axis(nice_ticks(_floor_of(ys), max(ys), 5), bottom, _TOP)
    named = [one for one in series if not one.faint]
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="inherit" font-size="13">',
        f'<title>{escape(title)}</title>',
        *(_horizontal(y(tick), label) for tick, label in _labelled(y.ticks)),
        *(_vertical(x(tick), label) for tick, label in _labelled(x.ticks)),
        *(_bars(one, x, y) for one in series if one.spread),
        *(_line(one, x, y) for one in series),
        *(_dot(one, x, y) for one in series if len(one.x) == 1 and _finite((one.x[0], one.y[0]))),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, 'middle'),
        _text(6, 14, y_label, 'start'),
        *(_legend(named) if len(named) > 1 else ()),
        *(_tips(named, x, y, x_label, y_label) if tips else ()),
        '</svg>',
    ]
    return '\n'.join(parts)


def thinned(series: Series) -> Series:
    """At most a few hundred points: means of neighbours, which a long run has many of."""
    size = -(-len(series.x) // _MOST_POINTS)
    if size <= 1:
        return series
    x, y = (
        [sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)]
        for values in (series.x, series.y)
    )
    return replace(series, x=x, y=y)


def smoothed(series: Series) -> list[Series]:
    """The line, faint, and its exponential mean; a short line alone, as it is."""
    if len(series.x) < _FEWEST_TO_SMOOTH:
        return [series]
    keep = 1 - 1 / max(2.0, _SMOOTHED * len(series.x))
    total = weight = 0.0
    means = []
    for value in series.y:
        if math.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
        means.append(total / weight if weight and math.isfinite(value) else math.nan)
    return [replace(series, faint=True), replace(series, y=means)]


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers, evenly spaced, of which the outer two enclose both ends."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """A few round positive numbers: 1, 2 and 5 times powers of ten, or these alone if many."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    if last - first <= 2:
        ticks = [m * 10.0**e for e in range(first, last) for m in (1, 2, 5)] + [10.0**last]
        while len(ticks) > 2 and ticks[1] <= low * (1 + 1e-9):
            ticks = ticks[1:]
        while len(ticks) > 2 and ticks[-2] >= high * (1 - 1e-9):
            ticks = ticks[:-1]
        return ticks
    step = -(-(last - first) // 6)
    last = first + step * -(-(last - first) // step)
    return [10.0**e for e in range(first, last + 1, step)]


def _coloured(series: Series, index: int, *, log: bool) -> Series:
    """The line with the number of its colour; without what a logarithm has no place for."""
    colour = index if series.colour is None else series.colour
    if not log:
        return replace(series, colour=colour)
    y = [value if value > 0 else math.nan for value in series.y]
    pairs = zip(y, series.spread, strict=True) if series.spread else ()
    spread = [min(s, 0.9 * value) for value, s in pairs]  # the lower end stays above zero
    return replace(series, colour=colour, y=y, spread=spread)


def _with_bars(series: Series) -> Iterator[tuple[float, float]]:
    """Its points, and the ends of its error bars."""
    yield from zip(series.x, series.y, strict=True)
    if series.spread:
        for x, y, spread in zip(series.x, series.y, series.spread, strict=True):
            yield from ((x, y - spread), (x, y + spread))


def _floor_of(ys: Sequence[float]) -> float:
    """Start at zero unless that would waste most of the chart."""
    return 0.0 if 0 < min(ys) < max(ys) / 2 else min(ys)


def _labelled(ticks: Sequence[float]) -> list[tuple[float, str]]:
    labels = [f'{tick:.6g}' for tick in ticks]
    if any('e' in label for label in labels):
        labels = [f'{tick:.3g}'.replace('e-0', 'e-').replace('e+0', 'e') for tick in ticks]
    elif max(map(len, labels)) > _MOST_LETTERS:
        labels = [_with_power(tick) for tick in ticks]
    return list(zip(ticks, labels, strict=True))


def _with_power(tick: float) -> str:
    mantissa, _, power = f'{tick:.5e}'.partition('e')
    return f'{float(mantissa):g}e{int(power)}' if tick else '0'


def _horizontal(y: float, label: str) -> str:
    line = f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="currentColor" opacity=".15"/>'
    return line + _text(_LEFT - 8, y + 4, label, 'end')


def _vertical(x: float, label: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    line = f'<path d="M{x:.1f} {bottom}v5" stroke="currentColor" opacity=".5"/>'
    return line + _text(x, bottom + 19, label, 'middle')


def _line(series: Series, x: _Axis, y: _Axis) -> str:
    path, pen = [], 'M'
    for point in zip(series.x, series.y, strict=True):
        if _finite(point):
            dot = 'h0' if pen == 'M' else ''  # so that a point alone shows too
            path.append(f'{pen}{x(point[0]):.1f} {y(point[1]):.1f}{dot}')
        pen = 'L' if _finite(point) else 'M'
    opacity = ' opacity=".3"' if series.faint else ''
    style = f'style="stroke:{_colour(series)}" fill="none" stroke-width="2"{opacity}'
    return f'<path d="{"".join(path)}" {style} stroke-linejoin="round" stroke-linecap="round"/>'


def _dot(series: Series, x: _Axis, y: _Axis) -> str:
    """A line of one point, large enough to be seen."""
    place = f'cx="{x(series.x[0]):.1f}" cy="{y(series.y[0]):.1f}"'
    return f'<circle {place} r="3.5" style="fill:{_colour(series)}"/>'


def _bars(series: Series, x: _Axis, y: _Axis) -> str:
    """Error bars at some of the points, the last among them."""
    points = list(zip(series.x, series.y, series.spread, strict=True))
    points = [point for point in points if all(map(math.isfinite, point))]
    path = []
    for at, value, spread in _evenly(points, _MOST_BARS):
        place, low, high = x(at), y(value - spread), y(value + spread)
        path.append(f'M{place - 3:.1f} {low:.1f}h6m-3 0V{high:.1f}m-3 0h6')
    style = f'style="stroke:{_colour(series)}" fill="transparent" opacity=".7"'
    return f'<path class="bars" d="{"".join(path)}" {style}/>'


def _evenly(items: Sequence[tuple[float, ...]], count: int) -> list[tuple[float, ...]]:
    """At most `count` of them, the last among them."""
    step = max(1, -(-len(items) // count))
    return list(items[::-1][::step][::-1])


def _tips(
    series: Sequence[Series], x: _Axis, y: _Axis, x_label: str, y_label: str
) -> Iterator[str]:
    """For each of some places along the axis, its values, of which the style shows one."""
    places = sorted({(at,) for one in series for at in one.x if math.isfinite(at)})
    chosen = [at for (at,) in _evenly(places, _MOST_TIPS)]
    found = [dict(zip(one.x, one.y, strict=True)) for one in series]
    spreads = [dict(zip(one.x, one.spread or [0.0] * len(one.x), strict=True)) for one in series]
    edges = [x(a) / 2 + x(b) / 2 for a, b in pairwise(chosen)]
    borders = [float(_LEFT), *edges, float(_WIDTH - _RIGHT)]
    for at, (left, right) in zip(chosen, pairwise(borders), strict=True):
        rows, dots = [f'{x_label} {at:.4g}'], []
        for one, values, spread in zip(series, found, spreads, strict=True):
            value = values.get(at, math.nan)
            if math.isfinite(value):
                more = f' ± {spread[at]:.2g}' if spread[at] else ''
                rows.append(f'{one.name or y_label} {value:.4g}{more}')
                centre = f'cx="{x(at):.1f}" cy="{y(value):.1f}"'
                dots.append(f'<circle {centre} r="4" style="fill:{_colour(one)}"/>')
        yield _tip(x(at), (left, right), rows, dots)


def _tip(place: float, borders: tuple[float, float], rows: list[str], dots: list[str]) -> str:
    bottom = _HEIGHT - _BOTTOM
    width = 7.2 * max(map(len, rows)) + 16  # about that of the text
    left = place + 8 if place + 8 + width < _WIDTH else max(0.0, place - 8 - width)
    texts = [_text(left + 8, _TOP + 20 + 17 * i, row, 'start') for i, row in enumerate(rows)]
    return (
        f'<g class="at"><path d="M{borders[0]:.1f} {_TOP}H{borders[1]:.1f}V{bottom}'
        f'H{borders[0]:.1f}z" fill="transparent"/><g class="tip">'
        f'<path d="M{place:.1f} {_TOP}V{bottom}" stroke="currentColor" opacity=".4"/>'
        f'{"".join(dots)}<rect class="card" x="{left:.1f}" y="{_TOP + 4}" rx="4" '
        f'width="{width:.0f}" height="{17 * len(rows) + 8}"/>{"".join(texts)}</g></g>'
    )


def _legend(series: Sequence[Series]) -> list[str]:
    parts, right = [], float(_WIDTH - _RIGHT)
    for one in reversed(series):
        parts.append(_text(right, 14, one.name, 'end'))
        right -= 7.2 * len(one.name) + 6  # about the width of the text
        stroke = f'style="stroke:{_colour(one)}" stroke-width="3" stroke-linecap="round"'
        parts.append(f'<path d="M{right - 16:.1f} 10H{right:.1f}" {stroke}/>')
        right -= 30
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor" opacity=".75">{escape(text)}</text>'


def _colour(series: Series) -> str:
    index = series.colour or 0
    return f'var(--series-{index},{_COLOURS[index % len(_COLOURS)]})'


def _finite(point: tuple[float, float]) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])
