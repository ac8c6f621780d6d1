"""A task leaves its result once, goes on where it was cut, and does not mix runs."""

import json
import os
import time

import pytest
import torch

from mae.fault_tolerance.checkpoint import save_checkpoint
from mae.protocol.jobs import JobError, JobProgress, run_jobs
from mae.protocol.task import CHECKPOINT, Task
from mae.utils.errors import ConfigError
from mae.utils.files import write_json

# A tool that notes how it was called, and logs a validation as a training would.
TOOL = """
import json, pathlib, sys
def main(argv):
    folder = pathlib.Path(argv[argv.index('--work-dir') + 1])
    with (folder / 'calls').open('a') as file:
        file.write(json.dumps(argv) + '\\n')
    if '--out' in argv:
        pathlib.Path(argv[argv.index('--out') + 1]).write_text('{"top1": 70.0}')
        return
    log = folder / f'{len(list(folder.iterdir())):04}' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 0.5, "step": 2}\\n{"top1": 60.0, "step": 2}\\n')
"""


@pytest.fixture
def task(tmp_path):
    """task(**changes) is a training of two epochs that begins with weights."""
    (tmp_path / 'tool.py').write_text(TOOL)
    folder = tmp_path / 'run'

    def build(**changes):
        words = ['config', '--work-dir', str(folder), '--load-from', 'weights.pth', '--seed', '1']
        test = ('config', CHECKPOINT, '--work-dir', str(folder))
        details = {
            'epochs': 2,
            'identity': 'a',
            'test_args': (*test, '--out', str(folder / 'metrics.json')),
            'test_script': tmp_path / 'tool.py',
            **changes,
        }
        return Task('linear', tmp_path / 'tool.py', words, folder, **details)

    return build


def run(task):
    run_jobs([task], 1, JobProgress(1.0), lambda job: [])
    return task.result


def calls(task):
    return [json.loads(line) for line in (task.work_dir / 'calls').read_text().splitlines()]


def left_by_a_kill(task, epoch):
    """What a training leaves that was killed after a checkpoint."""
    session = {'start': time.time() - 60, 'seconds': None}
    task.work_dir.mkdir()
    start = {'identity': task.identity, 'command': 'as typed', 'sessions': [session]}
    write_json(task.work_dir / 'task.json', start)
    if epoch:
        checkpoint = {'state_dict': {'w': torch.ones(2)}, 'meta': {'step': epoch, 'epoch': epoch}}
        save_checkpoint(checkpoint, task.work_dir / f'epoch_{epoch}.pth')
    for path in task.work_dir.iterdir():
        os.utime(path, (time.time() - 20, time.time() - 20))


def test_result_is_what_was_logged_and_what_it_cost(task):
    done = task(devices=4)
    assert done.result is None
    result = run(done)
    assert result['metrics']['top1'] == 60.0
    assert result['device_seconds'] == pytest.approx(4 * result['seconds'])
    assert 0 < result['cpu_seconds'] == done.cpu_seconds
    assert result['sessions'] == 1
    assert result['command'].endswith('--load-from weights.pth --seed 1')
    assert result == task().result


def test_killed_before_a_checkpoint_begins_anew(task):
    cut = task()
    left_by_a_kill(cut, epoch=0)
    result = run(cut)
    (words,) = calls(cut)
    assert '--load-from' in words
    assert '--resume' not in words
    assert result['sessions'] == 2
    assert 40 <= result['seconds'] < 50  # the forty until the last sign of life count
    busy = cut.cpu_seconds / cut.seconds  # what the killed session spent is not known
    assert result['cpu_seconds'] == pytest.approx(busy * result['seconds'])


def test_killed_after_a_checkpoint_is_resumed(task):
    cut = task()
    left_by_a_kill(cut, epoch=1)
    result = run(cut)
    (words,) = calls(cut)
    assert '--resume' in words
    assert '--load-from' not in words
    assert 'weights.pth' not in words
    assert words[words.index('--seed') + 1] == '1'
    assert '--load-from weights.pth' in result['command']  # as one would type it anew


def test_killed_after_the_last_step_is_only_tested(task):
    cut = task()
    left_by_a_kill(cut, epoch=2)
    result = run(cut)
    (words,) = calls(cut)
    assert words[1] == str(cut.work_dir / 'epoch_2.pth')
    assert result['metrics'] == {'top1': 70.0}


def test_a_damaged_last_checkpoint_is_not_tested_but_trained_again(task):
    cut = task()
    left_by_a_kill(cut, epoch=1)
    last = cut.work_dir / 'epoch_2.pth'
    save_checkpoint({'state_dict': {'w': torch.ones(2)}, 'meta': {'step': 2}}, last)
    last.write_bytes(last.read_bytes()[:-1])
    (cut.work_dir / 'last_checkpoint').write_text(str(last))
    assert cut.checkpoint() == cut.work_dir / 'epoch_1.pth'
    run(cut)
    (words,) = calls(cut)
    assert '--resume' in words
    assert '--out' not in words


def test_pretraining_has_its_loss(task):
    assert run(task(test_args=()))['metrics']['loss'] == 0.5


def test_another_run_in_the_folder_is_refused(task):
    run(task())
    with pytest.raises(ConfigError, match=r'a run of other configs.*--work-dir$'):
        task(identity='b').check()
    task().check()


def test_failure_leaves_no_result(task, tmp_path):
    (tmp_path / 'tool.py').write_text('def main(argv):\n    raise ValueError("no such data")\n')
    bad = task()
    with pytest.raises(JobError, match='no such data'):
        run(bad)
    assert bad.result is None


def test_launcher_takes_the_place_of_the_job(tmp_path):
    launcher = tmp_path / 'dist.sh'
    launcher.write_text('echo "$PYTHON" "$@"\nkill -0 $PPID\n')
    job = Task('x', launcher, ['config', '8', '--out', 'a b'], tmp_path / 'run')
    assert job.command.endswith("dist.sh config 8 --out 'a b'")
    write_json(tmp_path / 'metrics.json', {'top1': 1.0})
    (tmp_path / 'run').mkdir()
    write_json(tmp_path / 'run' / 'metrics.json', {'top1': 1.0})
    run(job)
    assert job.log.read_text().split()[1:] == ['config', '8', '--out', 'a', 'b']
