"""Runs that go on by themselves: a process is killed, a node is lost, a node comes back."""

import os
import signal
import time

from tests.faults import netns
from tests.faults.bench import PATIENCE, losses_of, state_of, tail
from tests.faults.nodes import OPTIONS, PACE, Pair, pair, reach, slowest, step_of
from tests.faults.process import Hung
from tests.faults.scene import Scene

_KILLS = 5  # in each trial
_SOON = 45  # seconds until a run must train again
_ELASTIC = dict(NNODES='1:2', MAX_RESTARTS='3', RDZV_ID='faults')


def restart_rank(trial):
    """SIGKILL to one of two processes, again and again: the same weights as undisturbed."""
    reference = trial.bench.reference('mae', processes=2)
    line = trial.bench.line('mae', trial.work_dir, processes=2, options=OPTIONS)
    env, fault = dict(MAX_RESTARTS=str(_KILLS)), dict(do='Pace', seconds=0.02)
    process = trial.bench.start(line, trial.log, fault=fault, env=env)
    longest = lost = 0
    for kill in range(_KILLS):
        # Each a few steps after another place between two checkpoints.
        target = 6 + 15 * kill + trial.rng.randint(0, 8)
        step, start = reach(trial, target, process.is_alive)
        pid = state_of(trial.work_dir)['pid']
        os.kill(process.ranks()[trial.rng.randint(0, 1)], signal.SIGKILL)
        seconds, again = await_life(trial, pid, process.is_alive, start)
        longest, lost = max(longest, seconds), max(lost, step - again)
    code = process.wait(PATIENCE)
    trial.facts |= {'seconds_to_train_again': round(longest, 1), 'steps_lost': lost}
    trial.facts['orphans'] = len(process.members())
    trial.check(code == 0, f'exit status {code}: {tail(trial.log)}')
    state = state_of(trial.work_dir)
    trial.facts['restarts'] = state['restarts']
    trial.check(state['restarts'] == _KILLS, f'{state["restarts"]} restarts instead of {_KILLS}')
    trial.check(state['weights_sha256'] == reference.sha256, 'other weights than undisturbed')
    return _KILLS, _KILLS


def lose_node(trial):
    """SIGKILL to all of node 1: node 0 goes on alone."""
    expected = _undisturbed_losses(trial)
    with pair(trial, **_ELASTIC) as run:
        _lose(trial, run)
        code, _ = run.wait(0, 0)
        trial.check(code == 0, f'exit status {code}: {tail(trial.log)}')
        trial.check(state_of(trial.work_dir)['world_size'] == 1, 'not alone')
        trial.check_losses(expected)


def bring_back(trial):
    """The same, and node 1 is started again meanwhile: it takes part."""
    expected = _undisturbed_losses(trial)
    with pair(trial, **_ELASTIC) as run:
        _lose(trial, run, pace=0.7)
        pid, start = state_of(trial.work_dir)['pid'], time.monotonic()
        run.start(1, pace=0.7)
        seconds, _ = await_life(trial, pid, run.processes[0].is_alive, start)
        trial.facts['seconds_to_be_back'] = round(seconds, 1)
        trial.check(state_of(trial.work_dir)['world_size'] == 2, 'node 1 is not back')
        codes = [run.wait(number, start)[0] for number in range(2)]
        trial.check(codes == [0, 0], f'exit status {codes}: {tail(trial.log)}')
        trial.facts['orphans'] = run.orphans()
        trial.check(seconds < _SOON, f'back after {seconds:.0f} s')
        trial.check_losses(expected)


def _lose(trial, run: Pair, pace=PACE):
    """Kill node 1 at step 20, and wait until node 0 trains again."""
    run.start_both(pace=pace)
    step, start = reach(trial, 20, run.processes[0].is_alive)
    pid = state_of(trial.work_dir)['pid']
    run.processes[1].kill()
    seconds, again = await_life(trial, pid, run.processes[0].is_alive, start)
    trial.facts |= {'seconds_to_train_again': round(seconds, 1), 'steps_lost': step - again}
    trial.facts['orphans'] = len(run.processes[1].members())
    trial.check(seconds < _SOON, f'trains again after {seconds:.0f} s')


def await_life(trial, pid, alive, since):
    """Wait until a start after the one of `pid` trains; (seconds since then, its first step)."""
    deadline = time.monotonic() + PATIENCE
    while alive() and time.monotonic() < deadline:
        state = state_of(trial.work_dir)
        if state.get('pid') != pid and state.get('state') == 'running':
            return time.monotonic() - since, step_of(state['resumed_from'])
        time.sleep(0.02)
    if alive():
        raise Hung(f'no new start trains: {tail(trial.log)}')
    trial.check(False, f'the run has ended: {tail(trial.log)}')


def _undisturbed_losses(trial):
    def make(folder):
        line = trial.bench.line('mae', folder / 'run', processes=2, options=OPTIONS)
        trial.bench.run(line, folder / 'log')

    return losses_of(trial.bench.once('losses', make) / 'run')


SCENES = [
    Scene(
        'elastic-rank',
        f'one of two processes killed, {_KILLS} times a run: restarts to the same weights',
        restart_rank,
        full=4,
        short=(),
        cores=2,
        sum_up=slowest,
    ),
    Scene(
        'elastic-node',
        'all of node 1 killed: node 0 goes on alone, every step once',
        lose_node,
        full=1,
        short=(),
        cores=2,
        sum_up=slowest,
        obstacle=netns.obstacle,
    ),
    Scene(
        'elastic-back',
        'the same, and node 1 is started again: it takes part',
        bring_back,
        full=1,
        short=(),
        cores=2,
        sum_up=slowest,
        obstacle=netns.obstacle,
    ),
]
