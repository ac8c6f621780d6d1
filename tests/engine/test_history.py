"""The scalars of a run that was killed and resumed, read from its newest file."""

import json
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mae.engine.history import lines_until
from mae.fault_tolerance.signals import RolledBack
from tests.engine.lives import Killed, train_life

VALIDATES = {'default_hooks.checkpoint': dict(interval=3, by='iter', max_keep=-1)}


class Kill(Hook):
    """Ends the run before the step of that number."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            raise Killed


class GoBack(Hook):
    """To another checkpoint after the first step, as the guard does."""

    def __init__(self, path):
        self.path = path

    def after_step(self, runner):
        if runner.iter == 1:
            runner.resume(self.path)
            raise RolledBack


def scalars(work_dir):
    """The newest file and its rows, by what they tell of: a step, or an evaluation of an epoch."""
    path = max(Path(work_dir).glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return path, [(row['step'], row.get('loss', row.get('top1'))) for row in rows]


@pytest.fixture
def live(make_runner):
    """live(number, changes, kill): train, and be killed; each life has a folder of its own."""

    def run(number, changes, kill=None, folder='run'):
        runner = make_runner(folder, {**VALIDATES, **changes}, classify=True)
        return train_life(runner, number, None if kill is None else Kill(kill))

    return run


@pytest.mark.parametrize('start', [6, 9, 10, 12], ids=['', 'far', 'epoch-end', 'after'])
def test_newest_file_tells_each_step_once(live, start):
    changes = {'default_hooks.checkpoint.interval': 5} if start == 10 else {}
    expected = scalars(live(0, changes, folder='whole').work_dir)[1]
    assert [step for step, _ in expected] == [*range(1, 6), 1, *range(6, 11), 2, *range(11, 16), 3]
    work_dir = live(1, changes, kill=13).work_dir
    before, rows = scalars(work_dir)
    assert rows == expected[:15]  # 13 steps and two validations
    checkpoint = Path(work_dir) / f'iter_{start}.pth'
    resume = {**changes, 'resume': True, 'load_from': str(checkpoint)}
    live(2, resume, kill=14)
    assert scalars(work_dir)[1] == expected[:16]
    live(3, {**changes, 'resume': True})
    assert scalars(work_dir)[1] == expected
    assert [json.loads(line)['step'] for line in before.read_text().splitlines()][-1] == 13


def test_a_run_that_fails_before_its_first_step_leaves_no_scalars(live):
    work_dir = live(1, {}, kill=13).work_dir
    live(2, {'resume': True}, kill=12)
    assert len(list(Path(work_dir).glob('*/vis_data/scalars.json'))) == 1


def test_history_comes_from_beside_the_checkpoint(live):
    work_dir = live(1, {}, kill=13).work_dir
    resume = {'resume': True, 'load_from': str(Path(work_dir) / 'iter_9.pth')}
    other = live(1, resume, folder='other').work_dir
    assert [step for step, _ in scalars(other)[1]][:11] == [*range(1, 6), 1, *range(6, 10), 10]


def test_where_nothing_is_resumed_the_file_begins_with_the_run(live):
    work_dir = live(1, {}, kill=4).work_dir
    live(2, {}, kill=2)
    assert [step for step, _ in scalars(work_dir)[1]] == [1, 2]


def test_going_back_is_no_resuming(live, make_runner):
    first = live(1, {}, kill=8)
    runner = make_runner('other', VALIDATES, classify=True)
    runner.register_hook(GoBack(Path(first.work_dir) / 'iter_6.pth'))
    runner.train()
    assert [step for step, _ in scalars(runner.work_dir)[1]][:3] == [1, 7, 8]


def test_without_scalars_of_our_kind_nothing_is_copied(live):
    work_dir = live(1, {}, kill=8).work_dir
    live(2, {'resume': True, 'visualizer.vis_backends': []}, kill=9)
    assert len(list(Path(work_dir).glob('*/vis_data/scalars.json'))) == 1


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_a_device_in_the_place_of_the_scalars_is_not_read(live):
    work_dir = live(1, {}, kill=8).work_dir
    path, _ = scalars(work_dir)
    path.unlink()
    path.symlink_to('/dev/full')  # endless zeros
    live(2, {'resume': True}, kill=8)
    assert [step for step, _ in scalars(work_dir)[1]] == [7, 8]


def line(**values):
    return (json.dumps(values) + '\n').encode()


def test_steps_gone_back_over_count_once():
    given_up = [line(epoch=1, step=3, loss=7.0), line(epoch=1, step=4, loss=7.0), line(step=4)]
    right = [line(epoch=1, step=n, loss=1.0) for n in range(1, 7)]
    lines = [*right[:2], *given_up, *right[2:]]
    assert lines_until(lines, 5) == right[:5]
    assert lines_until(lines, 2) == right[:2]


def test_what_is_no_line_is_left_out():
    first, second = line(epoch=1, step=1), line(epoch=1, step=2)
    broken = [b'{"epoch": 1, "st\n', b'3\n', b'{"epoch": 1}\n']
    assert lines_until([first, *broken, second, line(epoch=1, step=3)[:-1]], 9) == [first, second]
