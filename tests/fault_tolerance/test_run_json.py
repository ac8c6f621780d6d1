"""`run.json` tells a dead run from a living one, and how often it was continued."""

import json
import time
from datetime import datetime

import pytest

from mae.fault_tolerance.run_json import RunState


def read(folder):
    return json.loads((folder / 'run.json').read_text())


def await_change(folder, heartbeat):
    deadline = time.monotonic() + 20
    while (found := read(folder))['heartbeat'] == heartbeat and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_it_beats_until_the_run_is_over(tmp_path):
    state = RunState(tmp_path, seconds=0.1)
    first = read(tmp_path)
    later = await_change(tmp_path, first['heartbeat'])
    assert datetime.fromisoformat(later['heartbeat']) > datetime.fromisoformat(first['heartbeat'])
    assert later == {**first, 'heartbeat': later['heartbeat']}
    state.write(state='finished', step=5)
    (tmp_path / 'run.json').unlink()
    time.sleep(0.3)
    assert list(tmp_path.iterdir()) == []  # no late beat brings it back


def test_a_full_disk_does_not_stop_the_heart(tmp_path, monkeypatch, recwarn):
    refusals = []

    def full(*args, **kwargs):
        refusals.append(args)
        raise OSError(28, 'No space left on device')

    state = RunState(tmp_path, seconds=0.1)
    first = read(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr('mae.fault_tolerance.run_json.write_json', full)
        deadline = time.monotonic() + 20
        while len(refusals) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert await_change(tmp_path, first['heartbeat']) != first
    assert not recwarn.list
    state.write(state='stopped')


@pytest.mark.parametrize(('resumes', 'expected'), [(True, [0, 1, 2]), (False, [0, 0, 0])])
def test_restarts_are_counted(tmp_path, resumes, expected):
    found = []
    for step in range(3):
        state = RunState(tmp_path, resumes=resumes)
        assert state.before == (step if step < 2 else 1)
        found.append(read(tmp_path)['restarts'])
        state.write(state='stopped', step=min(step + 1, 1))
    assert found == expected


@pytest.mark.parametrize('text', ['', '[]', '{"step": "many"}', '{"step": null}'])
def test_a_file_that_is_not_ours_counts_as_none(tmp_path, text):
    (tmp_path / 'run.json').write_text(text)
    state = RunState(tmp_path)
    assert state.before == 0
    state.write(state='failed')
