"""Figures in files and notebooks, and points."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mae.visualization.figures import Drawing, save_figure
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
