"""Runs on one page: means and deviations are those of the values, at the steps all have."""

import re
from dataclasses import replace
from html import unescape
from statistics import stdev

import pytest

from mae.visualization.runs.comparison import RunGroup, run_comparison
from mae.visualization.runs.record import read_record
from tests.visualization.runs.conftest import FACTS, records


@pytest.fixture
def runs(vis_data):
    """Three seeds, whose losses are 1, 2 and 4 times as large; the last is shorter."""

    def run(seed, factor, last):
        lines = [{**r, 'loss': factor * r['loss']} if 'loss' in r else r for r in records(last)]
        return read_record(vis_data(f'seed{seed}', lines=lines), replace(FACTS, seed=seed))

    return [run(0, 1, 10), run(1, 2, 10), run(2, 4, 6)]


def test_seeds_are_averaged_where_all_have_values(runs):
    line = RunGroup('a', runs).series('loss', 'A', by_epoch=True)
    assert line.x == [step / 5 for step in range(1, 7)]
    assert line.y[1] == pytest.approx((4 + 8 + 16) / 3)
    assert line.spread[1] == pytest.approx(stdev([4, 8, 16]))


def test_a_run_alone_has_no_deviation(runs):
    group = RunGroup('a', runs[:1])
    assert not group.series('loss', 'A', by_epoch=False).spread
    assert group.last('loss') == '0.8'
    assert group.last('top1') == ''
    assert group.speed() == '16'


def test_the_page_names_runs_seeds_and_differences(runs):
    groups = [RunGroup('one <b>', runs[:2]), RunGroup('other', runs[2:])]
    page = run_comparison(groups, [['base_lr', '1', '2']])
    text = unescape(re.sub(r'<[^>]+>', ' ', page))
    assert '3 runs of a MAE compared' in text
    assert 'A: one <b>, mean of seeds 0, 1' in text
    assert 'B: other, seed 2' in text
    assert '1.2 ± 0.57' in text  # losses of .8 and 1.6 at step 10
    assert 'class="bars"' in page
    assert 'base_lr' in text
    assert '<b>' not in page
