"""Curves of what runs have logged."""

import json

import pytest

from mae.apis import draw_log
from mae.utils.errors import ConfigError, DataError


@pytest.fixture
def run(tmp_path):
    """Writes the log of a run; gives its work dir."""

    def write(name, rows):
        log = tmp_path / name / '1/vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
        return tmp_path / name

    return write


def row(step, loss):
    return {'loss': loss, 'time': 0.5, 'epoch': 1, 'iter': step, 'step': step}


def test_a_curve_for_each_run(run):
    first = run('one', [row(2, 3.0), row(4, 1.0), {'top1': 40.0, 'time': 9.0, 'step': 1}])
    second = run('two', [row(2, 2.0), row(4, 1.5)])
    drawing = draw_log([first, second])
    assert drawing.title == 'loss'
    assert '>one<' in drawing.svg
    assert '>two<' in drawing.svg
    assert drawing.note == f'{first}, {second}'
    assert draw_log([first]) == draw_log(first)
    assert 'top1' in draw_log(first, 'top1').svg


def test_what_cannot_be_drawn(run, tmp_path):
    with pytest.raises(ConfigError, match='nothing was logged as los; did you mean loss'):
        draw_log(run('one', [row(2, 3.0)]), 'los')
    for key in (3, None, ['loss']):
        with pytest.raises(ConfigError, match='key is the name of a scalar, such as loss, not'):
            draw_log(tmp_path / 'one', key)
    with pytest.raises(ConfigError, match='at least one run'):
        draw_log([])
    with pytest.raises(DataError, match='no work dir of a run'):
        draw_log(tmp_path)
    with pytest.raises(DataError, match='no line yet'):
        draw_log(run('empty', []))
