"""Progress in a line and in HTML says the same numbers."""

import math
from dataclasses import replace

import pytest

from mae.visualization.runs.progress import Progress, progress_html, progress_line

HALF = Progress(
    step=1500,
    steps=3000,
    epoch=2,
    epochs=4,
    loss=0.51234,
    images_per_second=1234.5,
    seconds_left=62.0,
)


def test_the_line_has_bar_loss_speed_and_time_left():
    assert progress_line(HALF, 200) == (
        '[==========----------]  50%  epoch 2/4  step 1,500  loss 0.5123  1,234 images/s  '
        '1:02 min left'
    )


@pytest.mark.parametrize('width', [0, 10, 79])
def test_the_line_is_no_wider_than_the_terminal(width):
    assert len(progress_line(HALF, width)) == width


def test_hours_are_said_as_hours():
    assert '2:05 h left' in progress_line(replace(HALF, seconds_left=7500), 200)


def test_what_is_unknown_is_left_out():
    line = progress_line(replace(HALF, loss=None, images_per_second=0.0, doing='validating'), 200)
    assert line.endswith('step 1,500  validating')


def test_html_has_a_bar_and_from_two_losses_on_a_chart():
    alone = progress_html(HALF)
    assert '<progress value="1500" max="3000"' in alone
    assert '<svg' not in alone
    assert '<svg' in progress_html(replace(HALF, losses=[(1, 2.0), (2, 1.0)]))
    assert '<svg' not in progress_html(replace(HALF, losses=[(1, math.nan), (2, math.nan)]))
