"""The starts of an elastic run tell from `run.json` what those before them came to."""

import json

import pytest

from mae.fault_tolerance.run_json import RunState
from mae.utils.errors import CheckpointError


def read(folder):
    return json.loads((folder / 'run.json').read_text())


def starts(folder, *newest, run_id='run7', ends='running'):
    """What the starts of a run find, each of which ends in a state."""
    for found in newest:
        state = RunState(folder, run_id=run_id, newest=found)
        if ends != 'running':
            state.write(state=ends, reason='SIGTERM' if ends == 'stopped' else 'out of luck')
        state._closed.set()  # as when it is killed
    return state.elastic


def test_a_run_that_is_not_elastic(tmp_path):
    assert RunState(tmp_path).elastic is None
    assert read(tmp_path)['elastic'] is None


@pytest.mark.parametrize(('ends', 'why'), [('running', 'it was killed'), ('failed', 'out of luck')])
def test_restarts_without_progress_end_the_run(tmp_path, ends, why):
    for number in range(4):
        elastic = starts(tmp_path, 'a 1', ends=ends)
        assert elastic.restarts_in_vain == read(tmp_path)['elastic']['restarts_in_vain'] == number
        elastic.check_progress()
    elastic = starts(tmp_path, 'a 1', ends=ends)
    with pytest.raises(CheckpointError) as raised:
        elastic.check_progress()
    assert str(raised.value) == (
        '3 restarts in a row came to no new checkpoint after a, so the run ends; the last one '
        f'failed: {why}'
    )
    assert starts(tmp_path, 'a 1').restarts_in_vain == 0  # the user tries again


def test_a_new_checkpoint_is_progress(tmp_path):
    assert starts(tmp_path, None, None, None).restarts_in_vain == 2
    assert starts(tmp_path, 'a 1').restarts_in_vain == 0
    assert starts(tmp_path, 'a 1').restarts_in_vain == 1
    assert starts(tmp_path, 'a 2').restarts_in_vain == 0  # saved anew


def test_a_node_that_joins_is_no_failure(tmp_path):
    assert starts(tmp_path, *['a 1'] * 6, ends='stopped').restarts_in_vain == 0


@pytest.mark.parametrize('first', [None, 'of an older run 1'])
def test_a_later_start_knows_whether_the_run_has_saved(tmp_path, first):
    assert not starts(tmp_path, first).has_saved
    assert not starts(tmp_path, first).has_saved
    assert starts(tmp_path, 'a 1').has_saved
    assert starts(tmp_path, 'a 1').has_saved
    assert read(tmp_path)['restarts'] == 2
    assert not starts(tmp_path, 'a 1', run_id='another').has_saved


@pytest.mark.parametrize('text', ['{"elastic": 7}', '{"elastic": {"run_id": "run7"}}'])
def test_an_elastic_part_that_is_not_ours(tmp_path, text):
    (tmp_path / 'run.json').write_text(text)
    elastic = starts(tmp_path, 'a 1')
    assert elastic.restarts_in_vain in (0, 1)
    elastic.check_progress()
