"""Figures in files and notebooks, points and scalars."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mae.visualization.figures import Drawing, save_figure
from mae.visualization.log_table import scalar_rows, seconds_per_step, split_records
from mae.visualization.scatter import scatter_chart

SVG = '<svg viewBox="0 0 4 4"><title>t</title></svg>'


def test_a_drawing_in_files_and_in_a_notebook(tmp_path):
    drawing = Drawing('A <title>', SVG, 'a & b')
    save_figure(drawing, tmp_path / 'new/a.svg')
    ElementTree.parse(tmp_path / 'new/a.svg')
    save_figure(drawing, tmp_path / 'a.html')
    text = (tmp_path / 'a.html').read_text()
    assert SVG in text
    assert '<h1>A &lt;title&gt;</h1>' in text
    assert 'a &amp; b' in text
    assert SVG in drawing._repr_html_()


def test_a_picture_in_files(tmp_path):
    picture = Image.new('RGB', (3, 2), (1, 2, 3))
    save_figure(picture, tmp_path / 'a.png')
    assert Image.open(tmp_path / 'a.png').getpixel((2, 1)) == (1, 2, 3)
    save_figure(picture, tmp_path / 'a.html', 'Title')
    assert 'src="data:image/png;base64,' in (tmp_path / 'a.html').read_text()


@pytest.mark.parametrize(
    ('figure', 'name', 'right'),
    [
        (Drawing('t', SVG), 'a.png', '.svg or .html'),
        (Image.new('L', (2, 2)), 'a.svg', '.png or .html'),
    ],
)
def test_a_file_of_another_kind(figure, name, right, tmp_path):
    with pytest.raises(ValueError, match=f'is written to {right}'):
        save_figure(figure, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_points_keep_their_distances():
    points = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0]])
    names = ['a', 'b', '<c>']
    svg = scatter_chart(points, names, title='t', labels=[0, 1, 1], classes=['x', 'y', 'z'])
    ElementTree.fromstring(svg)
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+" fill="(.*?)"', svg)
    (ax, ay, a), (bx, by, b), (cx, cy, c) = circles
    assert float(bx) - float(ax) == pytest.approx(2 * (float(ay) - float(cy)), abs=0.2)
    assert (ay, ax) == (by, cx)
    assert b == c != a
    assert '&lt;c&gt;: y</title>' in svg
    assert svg.count('<rect') == 2  # z has no point


def test_many_classes_are_not_all_in_the_legend():
    points, labels = np.random.default_rng(0).normal(size=(30, 2)), range(30)
    names = [f'class{number}' for number in labels]
    svg = scatter_chart(points, names, title='t', labels=labels, classes=names)
    assert svg.count('<rect') == 20
    assert 'and 10 more' in svg


def test_scalars_of_a_run():
    records = [
        {'loss': 3.0, 'time': 0.5, 'data_time': 0.1, 'epoch': 1, 'step': 4},
        {'loss': math.nan, 'time': 0.1, 'epoch': 2, 'step': 8},
        {'top1': 10.0, 'time': 99.0, 'step': 2},
        {'loss': 1.0, 'time': 0.2, 'epoch': 3, 'step': 10},
    ]
    training, evaluation = split_records(records)
    assert evaluation == [{'top1': 10.0, 'step': 2}]
    (loss, *_) = scalar_rows(training)
    assert (loss.name, loss.count, loss.broken) == ('loss', 2, 1)
    assert (loss.lowest.value, loss.lowest.step) == (1.0, 10)
    assert (loss.highest.value, loss.highest.step) == (3.0, 4)
    assert (loss.first, loss.last) == (loss.highest, loss.lowest)
    assert seconds_per_step(training) == pytest.approx((4 * 0.5 + 4 * 0.1 + 2 * 0.2) / 10)
    assert seconds_per_step(evaluation) is None


def test_steps_after_going_back_to_a_checkpoint():
    records = [{'loss': 1.0, 'time': 1.0, 'step': n} for n in (10, 5, 10)]
    assert seconds_per_step(records) == 1.0
