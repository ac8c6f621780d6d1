"""Pages are whole, self-contained and escape what they are given."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mae.visualization import report
from mae.visualization.clock import clock
from mae.visualization.panels import Panel


class Balanced(HTMLParser):
    """Notes tags that are not closed in order."""

    VOID = frozenset({'meta', 'img', 'br', 'path', 'link'})

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag == 'path'

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def panel(level=7):
    return Panel(*(np.full((4, 6), level + i, dtype=np.uint8) for i in range(3)))


def test_page_is_whole_and_text_is_escaped():
    text = '<script>alert("x")</script>'
    html = report.page(
        text,
        report.section(text, report.paragraph(text, 'note'), report.tiles([(text, text)])),
        report.columns(report.table((text, 'b'), [(text, '1')]), report.commands(text, text)),
        report.pictures([panel()], [text]),
    )
    parsed = Balanced(html)
    assert parsed.open == []
    assert '<script>alert' not in html
    assert ''.join(parsed.text).count(text) == 10  # the title twice; the caption is an attribute
    assert html.startswith('<!doctype html>')


@pytest.mark.parametrize('shape', [(4, 6), (4, 6, 3)])
def test_pictures_are_lossless_data(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    uri = report.png_uri(pixels)
    kind, data = uri.split(',')
    assert kind == 'data:image/png;base64'
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels
    )


def test_pictures_come_in_order_with_captions():
    html = report.pictures([panel(7), panel(100)], ['digit 3', 'digit 4'])
    shown = re.findall(r'src="([^"]+)" alt="([^"]+)"', html)
    levels = [
        int(np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(',')[1])))).mean())
        for uri, _ in shown
    ]
    assert levels == [7, 8, 9, 100, 101, 102]
    assert [alt for _, alt in shown][2:4] == ['digit 3: reconstruction', 'digit 4: original']


def test_every_picture_needs_its_caption():
    with pytest.raises(ValueError, match='shorter'):
        report.pictures([panel(), panel()], ['one'])


@pytest.mark.parametrize(('seconds', 'text'), [(0, '0:00'), (59.6, '1:00'), (247, '4:07')])
def test_clock(seconds, text):
    assert clock(seconds) == text
