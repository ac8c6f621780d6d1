"""Two nodes, one of which is killed, stopped, frozen or cut off; and a launcher that is killed."""

import os
import signal
import time
from contextlib import contextmanager

from tests.faults import netns
from tests.faults.bench import PATIENCE, state_of, tail
from tests.faults.process import Hung
from tests.faults.scene import Scene

TIMEOUT = 15  # seconds after which a silent process counts as dead
OPTIONS = (f'env_cfg.dist_cfg.timeout={TIMEOUT}', 'default_hooks.logger.interval=1')
PACE = 0.1  # seconds more a step


class Pair:
    """A run on two nodes, with one process on each.

    Args:
        variables: of the launcher on each node, beside its place.
    """

    def __init__(self, trial, nodes, **variables):
        self.trial, self.nodes = trial, nodes
        self.variables = {'NNODES': '2', 'MASTER_ADDR': netns.ADDRESSES[0], **variables}
        self.logs = [trial.log, trial.folder / 'log1']
        self.processes = [None, None]

    def start(self, number, *arguments, pace=PACE, work_dir=None, options=OPTIONS):
        """Start the launcher of a node."""
        bench, work_dir = self.trial.bench, work_dir or self.trial.work_dir
        line = bench.line('mae', work_dir, *arguments, options=options, launched=True)
        self.processes[number] = bench.start(
            [*self.nodes[number].prefix, *line],
            self.logs[number],
            fault=dict(do='Pace', seconds=pace),
            env={**self.variables, 'NODE_RANK': str(number)},
        )

    def start_both(self, *arguments, **details):
        for number in range(2):
            self.start(number, *arguments, **details)

    def wait(self, number, since):
        """(exit status, seconds since a moment) of the launcher of a node."""
        code = self.processes[number].wait(PATIENCE)
        return code, time.monotonic() - since

    def orphans(self):
        """Number of processes that have outlived their launcher."""
        return sum(len(process.members()) for process in self.processes if process)

    def kill(self):
        for process in self.processes:
            if process is not None:
                process.kill()


@contextmanager
def pair(trial, **variables):
    """Two nodes for a run, with nothing left behind."""
    with netns.two_nodes(trial.folder) as nodes:
        run = Pair(trial, nodes, **variables)
        try:
            yield run
        finally:
            run.kill()


def reach(trial, step, alive):
    """Wait until the run has done some steps; returns the step, and the clock."""
    deadline = time.monotonic() + PATIENCE
    while alive() and trial.phase()[1] < step:
        if time.monotonic() > deadline:
            raise Hung(f'step {step} is not reached: {tail(trial.log)}')
        time.sleep(0.02)
    trial.check(alive(), f'the run ended before step {step}: {tail(trial.log)}')
    return trial.phase()[1], time.monotonic()


def told(trial, log):
    """The one line with which a node says why it ended."""
    lines = [line for line in log.read_text().splitlines() if 'error: ' in line]
    trial.check(len(lines) == 1, f'{len(lines)} lines of error: {tail(log)}')
    trial.check('Traceback' not in log.read_text(), f'a traceback: {tail(log)}')
    return lines[0]


def go_on(trial, run, reference):
    """Both nodes once more, with --resume: to the weights of the undisturbed run."""
    lost_at = trial.facts.get('step', 0)
    run.start_both('--resume', pace=0)
    start = time.monotonic()
    codes = [run.wait(number, start)[0] for number in range(2)]
    trial.check(codes == [0, 0], f'exit status {codes} after --resume: {tail(trial.log)}')
    state = state_of(trial.work_dir)
    trial.check(state['weights_sha256'] == reference.sha256, 'other weights than undisturbed')
    trial.facts['steps_lost'] = lost_at - step_of(state['resumed_from'])


def step_of(checkpoint):
    """Steps done of a checkpoint of the pre-training, which has 11 an epoch; 0 of none."""
    unit, _, number = (checkpoint or '_0').rpartition('/')[2].removesuffix('.pth').rpartition('_')
    return int(number) * (11 if unit == 'epoch' else 1)


def kill_node(lost):
    """All processes of a node get SIGKILL; the other ends by itself."""

    def scene(trial):
        reference = trial.bench.reference('mae', processes=2)
        with pair(trial) as run:
            run.start_both()
            trial.facts['step'], start = reach(trial, 20, run.processes[0].is_alive)
            run.processes[lost].kill()
            code, seconds = run.wait(1 - lost, start)
            trial.facts |= {'seconds_to_end': round(seconds, 1), 'orphans': run.orphans()}
            trial.check(code == 1, f'exit status {code} of the other node')
            trial.facts['told'] = told(trial, run.logs[1 - lost])
            trial.check(not run.orphans(), 'processes are left')
            go_on(trial, run, reference)

    return scene


def stop_node(trial):
    """SIGTERM to the launcher of node 1: both stop at the same step, saved."""
    reference = trial.bench.reference('mae', processes=2)
    with pair(trial) as run:
        run.start_both()
        _, start = reach(trial, 20, run.processes[0].is_alive)
        run.processes[1].send(signal.SIGTERM)
        ends = [run.wait(number, start) for number in range(2)]
        trial.facts['seconds_to_end'] = round(max(seconds for _, seconds in ends), 1)
        codes = [code for code, _ in ends]
        trial.check(codes == [143, 143], f'exit status {codes} instead of 143 of both')
        trial.facts['step'] = state_of(trial.work_dir)['step']
        trial.facts['orphans'] = run.orphans()
        go_on(trial, run, reference)
        trial.check(trial.facts['steps_lost'] == 0, 'steps are lost')


def freeze_node(trial):
    """SIGSTOP to all of node 1, which wakes up once node 0 has ended: it writes nothing more."""
    reference = trial.bench.reference('mae', processes=2)
    with pair(trial) as run:
        run.start_both()
        trial.facts['step'], start = reach(trial, 20, run.processes[0].is_alive)
        frozen = run.processes[1].members()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        code, seconds = run.wait(0, start)
        trial.facts['seconds_to_end'] = round(seconds, 1)
        trial.check(code == 1, f'exit status {code} of node 0')
        told(trial, run.logs[0])
        files = sorted(trial.work_dir.iterdir())
        awake = time.monotonic()
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        code, seconds = run.wait(1, awake)
        trial.facts |= {'seconds_awake': round(seconds, 1), 'orphans': run.orphans()}
        trial.check(code == 1, f'exit status {code} of node 1')
        trial.check(sorted(trial.work_dir.iterdir()) == files, 'node 1 went on to write')
        trial.check(not run.orphans(), 'processes are left')
        go_on(trial, run, reference)


def cut_cable(trial):
    """The cable is cut, of which nobody is told: both nodes give up."""
    reference = trial.bench.reference('mae', processes=2)
    with pair(trial) as run:
        run.start_both()
        trial.facts['step'], start = reach(trial, 20, run.processes[0].is_alive)
        run.nodes[1].pull_out()
        ends = [run.wait(number, start) for number in range(2)]
        trial.facts['seconds_to_end'] = round(max(seconds for _, seconds in ends), 1)
        codes = [code for code, _ in ends]
        trial.check(codes == [1, 1], f'exit status {codes} instead of 1 of both')
        trial.facts['orphans'] = run.orphans()
        run.nodes[1].plug_in_again()
        go_on(trial, run, reference)


def split_folder(trial):
    """The work dir of node 1 is another folder: told at the start; --resume is refused by both."""
    trial.work_dir.mkdir()
    with pair(trial) as run:
        run.nodes[1].hide(trial.work_dir)
        run.start_both(pace=0)
        start = time.monotonic()
        codes = [run.wait(number, start)[0] for number in range(2)]
        trial.check(codes == [0, 0], f'exit status {codes}: {tail(trial.log)}')
        trial.check(' is not shared: ' in trial.log.read_text(), 'not told that it is not shared')
        newest = max(trial.work_dir.glob('iter_*.pth'), key=lambda path: step_of(str(path)))
        for log in run.logs:
            log.unlink()
        run.start_both('--resume', str(newest), pace=0)
        codes = [run.wait(number, start)[0] for number in range(2)]
        trial.check(codes == [1, 1], f'exit status {codes} instead of 1 of both')
        trial.facts['orphans'] = run.orphans()
        said = run.logs[1].read_text()
        trial.check('no such checkpoint' in said, f'not told which is missing: {tail(run.logs[1])}')


def lose_launcher(trial):
    """SIGKILL to the launcher alone, as when memory runs out: its processes save and end."""
    reference = trial.bench.reference('mae', processes=2)
    line = trial.bench.line('mae', trial.work_dir, processes=2, options=OPTIONS)
    process = trial.bench.start(line, trial.log, fault=dict(do='Pace', seconds=PACE))
    _, start = reach(trial, 20, process.is_alive)
    process.send(signal.SIGKILL)
    while process.members() and time.monotonic() < start + PATIENCE:
        time.sleep(0.05)
    trial.facts |= {'seconds_to_end': round(time.monotonic() - start, 1)}
    trial.facts['orphans'] = len(process.members())
    process.kill()
    trial.check(not trial.facts['orphans'], 'processes are left')
    state = state_of(trial.work_dir)
    trial.check(state['state'] == 'stopped', f'run.json says {state["state"]}')
    trial.facts['step'] = state['step']
    trial.finish(trial.bench.line('mae', trial.work_dir, '--resume', processes=2), reference)


def freeze_rank(trial):
    """SIGSTOP to one of two processes of a node, the first and the second in turns."""
    line = trial.bench.line('mae', trial.work_dir, processes=2, options=OPTIONS)
    process = trial.bench.start(line, trial.log, fault=dict(do='Pace', seconds=PACE))
    _, start = reach(trial, 20, process.is_alive)
    os.kill(process.ranks()[trial.number % 2], signal.SIGSTOP)
    code = process.wait(PATIENCE)
    trial.facts['seconds_to_end'] = round(time.monotonic() - start, 1)
    trial.facts['orphans'] = len(process.members())
    process.kill()
    trial.check(code == 1, f'exit status {code} instead of 1')
    trial.check(not trial.facts['orphans'], 'processes are left')
    trial.check('Traceback' not in trial.log.read_text(), tail(trial.log))


def slowest(facts):
    """The largest of each figure."""
    names = {name for fact in facts for name, value in fact.items() if type(value) in (int, float)}
    return {name: max(fact[name] for fact in facts if name in fact) for name in sorted(names)}


def _scene(name, what, run, full=1, obstacle=netns.obstacle):
    return Scene(name, what, run, full=full, short=(), cores=2, sum_up=slowest, obstacle=obstacle)


SCENES = [
    _scene('node-kill', 'SIGKILL of all of node 1 of two, then --resume on both', kill_node(1)),
    _scene('node-kill0', 'the same of node 0', kill_node(0)),
    _scene('node-term', 'SIGTERM to node 1: both stop at one step, saved', stop_node),
    _scene('node-freeze', 'SIGSTOP of all of node 1, which wakes up later', freeze_node),
    _scene('node-cut', 'the cable between two nodes cut', cut_cable),
    _scene('node-split', 'a work dir that the nodes do not share', split_folder),
    _scene('freeze', 'SIGSTOP of one of two processes', freeze_rank, 2, lambda: None),
    _scene('orphan', 'SIGKILL of the launcher alone', lose_launcher, 1, lambda: None),
]
