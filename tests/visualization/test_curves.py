"""Line charts put the points where the axes say."""

import math
import re
from xml.etree import ElementTree

import pytest

from mae.visualization.curves import (
    Series,
    line_chart,
    log_ticks,
    nice_ticks,
    smoothed,
    thinned,
)


def chart(*series, title='Loss', **options):
    svg = line_chart(series, title=title, x_label='epoch', y_label='loss', **options)
    return ElementTree.fromstring(svg)


def texts_of(root):
    return list(root.iter('text'))


def texts(root):
    return {t.text for t in texts_of(root)}


def lines(root):
    """Points of every series."""
    paths = [p.get('d') for p in root.iter('path') if p.get('fill') == 'none']
    return [[tuple(map(float, xy)) for xy in re.findall(r'([\d.]+) ([\d.]+)', d)] for d in paths]


def test_points_lie_where_the_ticks_say():
    root = chart(Series('', [0, 40, 100], [1.0, 0.4, 0.0]))
    labels = [
        (t.get('text-anchor'), t.text, float(t.get('x')), float(t.get('y'))) for t in texts_of(root)
    ]
    columns = {text: x for anchor, text, x, _ in labels if anchor == 'middle'}
    rows = {text: y - 4 for anchor, text, _, y in labels if anchor == 'end'}
    expected = [(columns[x], rows[y]) for x, y in (('0', '1'), ('40', '0.4'), ('100', '0'))]
    for point, place in zip(lines(root)[0], expected, strict=True):
        assert point == pytest.approx(place, abs=0.11)
    assert columns['0'] < columns['100']
    assert rows['1'] < rows['0']  # up is small in SVG


def test_labels_and_title_are_escaped():
    root = chart(Series('a', [0, 1], [0, 1]), title='a < b & "c"')
    assert root.find('title').text == 'a < b & "c"'
    assert root.get('aria-label') == 'a < b & "c"'
    assert {'epoch', 'loss'} <= texts(root)


def test_legend_only_for_several_lines():
    one, two = Series('first', [0, 1], [0, 1]), Series('second', [0, 1], [1, 0])
    assert 'first' not in texts(chart(one))
    assert {'first', 'second'} <= texts(chart(one, two))
    assert len(lines(chart(one, two))) == 2


def test_values_that_are_not_finite_break_the_line():
    root = chart(Series('', [0, 1, 2, 3, 4], [4, 3, math.nan, 1, math.inf]))
    (path,) = [p.get('d') for p in root.iter('path') if p.get('fill') == 'none']
    assert path.count('M') == 2
    assert len(lines(root)[0]) == 3
    assert 'nan' not in path
    assert 'inf' not in path


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="'Loss' has no finite point"):
        chart(Series('', [0, 1], [math.nan, math.nan]))


def test_a_single_point_and_a_constant_can_be_drawn():
    assert len(lines(chart(Series('', [1], [2.5])))[0]) == 1
    assert len(lines(chart(Series('', [1, 2], [0, 0])))[0]) == 2


def test_labels_of_axes_are_within_the_chart():
    """Digits are 8.3 wide in the widest of usual fonts."""
    root = chart(Series('', [0, 40_000], [1e-4, 2.5e-4]))
    width = float(root.get('viewBox').split()[2])
    for label in texts_of(root):
        digits = 8.3 * sum(letter.isdigit() for letter in label.text)
        more = 4.3 * sum(not letter.isdigit() for letter in label.text)
        side = {'middle': 0.5, 'end': 1.0, 'start': 0.0}[label.get('text-anchor')]
        left = float(label.get('x')) - side * (digits + more)
        assert left >= 0, label.text
        assert left + digits + more <= width, label.text


def test_labels_of_many_digits_have_a_power():
    found = texts(chart(Series('', [0, 1], [1.2e-4, 1.3e-4])))
    assert {'1.2e-4', '1.3e-4'} <= set(found)


def test_small_learning_rates_have_short_labels():
    root = chart(Series('', [0, 1], [0, 4e-7]))
    assert '4e-7' in texts(root)
    assert max(map(len, texts(root))) <= 6


@pytest.mark.parametrize(
    ('low', 'high', 'expected'),
    [
        (0, 300, [0, 50, 100, 150, 200, 250, 300]),
        (1, 300, [0, 50, 100, 150, 200, 250, 300]),
        (0.27, 1.33, [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (2, 2, [1, 1.5, 2, 2.5, 3]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, expected):
    count = 6 if high in (300, 1.33) else 5
    assert nice_ticks(low, high, count) == pytest.approx(expected)


@pytest.mark.parametrize('high', [3e-9, 0.07, 1, 12.5, 99, 1e6])
def test_ticks_enclose_and_are_few(high):
    for low in (0, high / 3, -high):
        ticks = nice_ticks(low, high, 5)
        assert ticks[0] <= low + 1e-9 * high
        assert ticks[-1] >= high * (1 - 1e-9)
        assert 3 <= len(ticks) <= 8


def test_on_a_logarithmic_axis_equal_factors_are_equal_lengths():
    root = chart(Series('', [0, 1, 2, 3], [100, 10, 1, 0]), log=True)
    (points,) = lines(root)
    heights = [y for _, y in points]
    assert len(heights) == 3  # 0 has no place
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)
    assert {'1', '10', '100'} <= texts(root)


@pytest.mark.parametrize(
    ('low', 'high', 'expected'),
    [
        (1, 100, [1, 10, 100]),
        (0.2, 3, [0.2, 0.5, 1, 2, 5]),
        (2, 2, [2, 5]),
        (1e-8, 1e4, [1e-8, 1e-6, 1e-4, 1e-2, 1, 1e2, 1e4]),
    ],
)
def test_logarithmic_ticks_enclose_and_are_few(low, high, expected):
    ticks = log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= high * (1 - 1e-9)
    assert all(any(tick == pytest.approx(value) for tick in ticks) for value in expected)
    assert 2 <= len(ticks) <= 8


def test_error_bars_reach_from_below_to_above_the_mean():
    root = chart(Series('', [0, 1], [2.0, 4.0], [1.0, 0.0]))
    (bars,) = [p.get('d') for p in root.iter('path') if p.get('class') == 'bars']
    tops = [float(value) for value in re.findall(r'V([\d.]+)', bars)]
    lows = [float(value) for value in re.findall(r'M[\d.]+ ([\d.]+)', bars)]
    middle = [y for _, y in lines(root)[0]]
    assert (lows[0] + tops[0]) / 2 == pytest.approx(middle[0], abs=0.11)
    assert lows[0] - tops[0] > 10
    assert lows[1] == tops[1]


def test_tips_say_the_values_of_all_lines_at_one_place():
    a = Series('a', [1, 2], [0.5, 0.25])
    b = Series('b', [1, 2], [3, 4], [0.1, 0.2])
    tips = [g for g in chart(a, b, tips=True).iter('g') if g.get('class') == 'at']
    assert [[t.text for t in tip.iter('text')] for tip in tips] == [
        ['epoch 1', 'a 0.5', 'b 3 ± 0.1'],
        ['epoch 2', 'a 0.25', 'b 4 ± 0.2'],
    ]
    assert not list(chart(a).iter('g'))


def test_tips_of_a_long_line_are_few_and_end_with_its_end():
    root = chart(Series('', range(1000), range(1000)), tips=True)
    tips = [g for g in root.iter('g') if g.get('class') == 'at']
    assert len(tips) <= 80
    assert 'epoch 999' in {t.text for t in tips[-1].iter('text')}


def test_thinned_lines_keep_their_mean_and_short_ones_stay():
    line = Series('', range(3000), [float(i % 7) for i in range(3000)])
    thin = thinned(line)
    assert len(thin.x) == 300
    assert sum(thin.y) / 300 == pytest.approx(sum(line.y) / 3000)
    assert thinned(thin) is thin


def test_a_smoothed_constant_is_that_constant_and_gaps_stay():
    line = Series('', range(40), [math.nan if i == 20 else 2.0 for i in range(40)])
    raw, mean = smoothed(line)
    assert raw.faint
    assert not mean.faint
    assert [y for y in mean.y if math.isfinite(y)] == pytest.approx([2.0] * 39)
    assert math.isnan(mean.y[20])
    assert smoothed(Series('', [0, 1], [0, 1])) == [Series('', [0, 1], [0, 1])]
