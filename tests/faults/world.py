"""Stopped, and resumed with another number of processes: the same samples, keys and masks."""

import signal
from collections import Counter

from tests.faults.bench import losses_of, state_of
from tests.faults.notes import notes
from tests.faults.scene import Scene
from tests.faults.stop import DENSE, OPTIONS

_CHANGES = ((1, 2), (2, 1), (2, 4), (4, 2), (1, 4), (4, 1))


def other_world(trial):
    """Another change of size each trial, at a random step."""
    _change_world(trial, 'mae', _CHANGES[trial.number], trial.rng.randint(2, 19), OPTIONS)


def other_world_dense(trial):
    """The same of segmentation and detection."""
    kind = tuple(DENSE)[trial.number % 2]
    step = trial.rng.randint(2, DENSE[kind] - 3)
    _change_world(trial, kind, _CHANGES[trial.number // 2], step, ())


def _change_world(trial, kind, change, step, options):
    """Stopped at a step on a number of processes, and resumed on another."""
    before, after = change
    expected = seen_in(
        trial.bench.once(f'record-{kind}', lambda folder: record(trial, kind, options, folder)), 1
    )
    fault = dict(do='Signal', at='end', step=step, rank=before - 1)
    line = trial.bench.line(kind, trial.work_dir, processes=before, options=options)
    trial.run(
        line, code=143, fault=fault, record=True, log=trial.folder / 'before', quick=before == 1
    )
    stopped = state_of(trial.work_dir)['step']
    line = trial.bench.line(kind, trial.work_dir, '--resume', processes=after, options=options)
    trial.run(line, record=True, log=trial.folder / 'after', quick=after == 1)
    trial.facts |= {'from': before, 'to': after, 'step': stopped}
    first = seen_in(trial.folder, before, 'before')
    second = seen_in(trial.folder, after, 'after')
    twice = set(first) & set(second)
    trial.check(not twice, f'steps {sorted(twice)} were done twice')
    found = {**first, **second}
    trial.facts |= compare(expected, found)
    trial.check(found == expected, f'other samples: {trial.facts}')


def three_processes(trial):
    """Two processes, then one, then three, which do not divide the batch: samples and losses."""
    options = (*OPTIONS, 'default_hooks.logger.interval=1')
    alone = trial.bench.once('record-mae-1', lambda folder: record(trial, 'mae', options, folder))
    found = {}
    stops = trial.rng.randint(2, 9), trial.rng.randint(11, 20), None
    for processes, step in zip((2, 1, 3), stops, strict=True):
        log = trial.folder / f'log{processes}'
        fault = step and dict(do='Signal', at='end', step=step, rank=processes - 1)
        details = dict(processes=processes, options=options)
        line = trial.bench.line('mae', trial.work_dir, '--resume', **details)
        trial.run(line, code=143 if step else 0, fault=fault, record=True, log=log)
        seen = seen_in(trial.folder, processes, log.name)
        trial.check(not set(found) & set(seen), 'a step was done twice')
        found |= seen
    trial.facts |= compare(seen_in(alone, 1), found)
    trial.check(found == seen_in(alone, 1), f'other samples: {trial.facts}')
    trial.check_losses(losses_of(alone / 'run'))


def record(trial, kind, options, folder):
    line = trial.bench.line(kind, folder / 'run', options=options)
    trial.bench.run(line, folder / 'log', record=True, quick=True)


def seen_in(folder, processes, log='log'):
    """Of each step the samples of all processes, each with key and mask or digest, in order."""
    steps = {}
    for rank in range(processes):
        for line in notes(folder / log, 'steps', rank):
            steps.setdefault(line['step'], []).extend(line['seen'])
    return {step: sorted(seen) for step, seen in steps.items()}


def compare(expected, found):
    wanted, had = (
        Counter((step, i) for step, seen in steps.items() for i, *_ in seen)
        for steps in (expected, found)
    )
    return {'repeated': (had - wanted).total(), 'missed': (wanted - had).total()}


def signal_from_outside(trial):
    """To the launcher, as a batch system sends it."""
    name, code = (('SIGTERM', 143), ('SIGUSR1', 143), ('SIGINT', 130))[trial.number]
    reference = trial.bench.reference('mae', processes=2)
    line = trial.bench.line('mae', trial.work_dir, processes=2)
    process = trial.bench.start(line, trial.log)
    step = trial.rng.randint(5, 60)
    while process.is_alive() and trial.phase()[1] < step:
        pass
    process.send(getattr(signal, name))
    found = process.wait(60)
    trial.check(found == code, f'exit status {found} instead of {code} after {name}')
    trial.facts['step'] = state_of(trial.work_dir)['step']
    line = trial.bench.line('mae', trial.work_dir, '--resume', processes=2)
    trial.finish(line, reference)


def total(facts):
    return {name: sum(fact.get(name, 0) for fact in facts) for name in ('repeated', 'missed')}


SCENES = [
    Scene(
        'world',
        'stopped and resumed with another number of processes (1, 2, 4): samples, keys, masks',
        other_world,
        full=len(_CHANGES),
        short=(),
        cores=2,
        sum_up=total,
    ),
    Scene(
        'world3',
        'two processes, then one, then three: samples, keys, masks, losses',
        three_processes,
        full=1,
        short=(),
        cores=2,
        sum_up=total,
    ),
    Scene(
        'worlddense',
        'the same of segmentation and detection: samples, keys, digests of images, maps, objects',
        other_world_dense,
        full=2 * len(_CHANGES),
        short=(),
        cores=2,
        sum_up=total,
    ),
    Scene(
        'signals2',
        'TERM, USR1, INT to tools/dist_train.sh of two processes: exit status, then --resume',
        signal_from_outside,
        full=3,
        short=(),
        cores=2,
    ),
]
