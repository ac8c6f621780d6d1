"""SIGKILL at a random moment of a run's life, then the same line with `--resume`."""

import time
from collections import Counter

from tests.faults.bench import state_of, wait_until_running
from tests.faults.scene import Failed, Scene


def kill_one(trial):
    """One process, with 0, 1 or 2 data workers; pre-training and fine-tuning in turns."""
    _kill(trial, ('mae', 'ft')[trial.number % 2], workers=trial.number // 2 % 3)


def kill_two(trial):
    """Two processes by `tools/dist_train.sh`."""
    _kill(trial, ('mae', 'ft')[trial.number % 2], processes=2, workers=trial.number // 2 % 2)


def _kill(trial, kind, *, processes=1, workers=0):
    reference = trial.bench.reference(kind, processes=processes)
    # Most of so short a life is imports: every second death is in what comes after.
    late = trial.number // 2 % 2 == 1
    longest = reference.seconds - reference.begin if late else reference.seconds
    details = dict(processes=processes, workers=workers)
    work_dir = trial.work_dir
    for _ in range(5):
        moment = trial.rng.uniform(0.0, longest)
        process = trial.bench.start(trial.bench.line(kind, work_dir, **details), trial.log)
        if late:
            wait_until_running(process, work_dir)
        time.sleep(moment)
        if process.is_alive():
            break
        process.wait(1)
        if state_of(work_dir).get('state') != 'finished':
            raise Failed(f'the run ended before it was killed, with {state_of(work_dir)}')
        work_dir.rename(f'{work_dir}-{moment:.2f}s')  # it was faster: once more
        longest *= 0.9
    process.kill()
    phase, step = trial.phase()
    if not work_dir.exists():
        phase = 'importing'
    trial.facts |= {'phase': phase, 'step': step, 'kind': kind, 'workers': workers}
    trial.facts['moment'] = round(moment, 3)
    # Four in five go on in a process that has done the imports: minutes less in all.
    quick = processes == 1 and trial.number % 5 > 0
    line = trial.bench.line(kind, work_dir, '--resume', **details)
    trial.finish(line, reference, quick=quick)
    trial.facts['from'] = (state_of(work_dir).get('resumed_from') or 'the start').rpartition('/')[2]


def spread(facts):
    """How often the kill hit which phase."""
    return {'phases': dict(Counter(fact['phase'] for fact in facts if 'phase' in fact))}


SCENES = [
    Scene(
        'kill',
        'SIGKILL of all processes at a random moment, then --resume: the same weights',
        kill_one,
        full=200,
        short=(3,),
        sum_up=spread,
    ),
    Scene(
        'kill2',
        'the same with two processes (tools/dist_train.sh)',
        kill_two,
        full=40,
        short=(),
        cores=2,
        sum_up=spread,
    ),
]
