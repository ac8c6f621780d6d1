"""The fault harness: its smallest scene passes, and what fails is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import __main__ as harness
from tests.faults.scene import Failed, Scene

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
def test_the_smallest_scene(tmp_path):
    """`make faults ARGS='--short'` plays a few trials of the others."""
    words = [sys.executable, '-m', 'tests.faults', '--out', str(tmp_path)]
    words += ['--scenes', 'hostile', '--trials', '4']
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    board = json.loads((tmp_path / 'scoreboard.json').read_text())
    assert [(name, row['passed']) for name, row in board['rows'].items()] == [('hostile', 1)]


def test_the_short_selection_is_of_most_scenes():
    short = {scene.name: set(scene.short) for scene in harness.scenes.ALL if scene.short}
    assert len(short) >= 12
    assert all(len(numbers) <= 3 for numbers in short.values())


def scene_of(run, share=1.0):
    return Scene('scene', 'what it does', run, full=4, short=(0,), share=share)


def fail(trial):
    trial.check(trial.number != 2, 'the third one does not hold')
    trial.facts['number'] = trial.number


def test_a_failure_is_told_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.scenes, 'ALL', [scene_of(fail)])
    assert harness.main(['--out', str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert 'scene 2 failed: the third one does not hold' in out
    assert (
        f'again: python -m tests.faults --scenes scene --trials 2 --seed 0 --out {tmp_path}' in out
    )
    board = json.loads((tmp_path / 'scoreboard.json').read_text())
    row = board['rows']['scene']
    assert (row['passed'], row['tried'], row['reached']) == (3, 4, False)
    assert board['line'] == 'scene 3/4'
    assert [path.name for path in (tmp_path / 'bench/scene').iterdir()] == ['2']


def test_resuming_does_again_what_has_not_passed(tmp_path, monkeypatch):
    seen = []

    def note(trial):
        seen.append(trial.number)
        if trial.number == 1 and len(seen) < 5:
            raise Failed('not yet')

    monkeypatch.setattr(harness.scenes, 'ALL', [scene_of(note)])
    assert harness.main(['--out', str(tmp_path), '--jobs', '1']) == 1
    assert harness.main(['--out', str(tmp_path), '--jobs', '1', '--resume']) == 0
    assert seen == [0, 1, 2, 3, 1]


def test_share_of_the_cases(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.scenes, 'ALL', [scene_of(lambda trial: (99, 100), share=0.99)])
    assert harness.main(['--out', str(tmp_path)]) == 0
    monkeypatch.setattr(harness.scenes, 'ALL', [scene_of(lambda trial: (98, 100), share=0.99)])
    assert harness.main(['--out', str(tmp_path)]) == 1
