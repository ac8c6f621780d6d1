"""SIGKILL before the system calls of a save: the run kills itself at call number n."""

import random
from pathlib import Path

from mae.fault_tolerance.checkpoint import verified
from tests.faults.bench import state_of
from tests.faults.notes import notes
from tests.faults.scene import Scene
from tests.faults.stop import OPTIONS

# The first save of a run; one that prunes; one that also takes the name of a best checkpoint.
_WRITES = 10
_SAVES = (('mae', 1), ('mae', 4), ('ft', 5))


def _cases(bench):
    """(kind, number of the save, number of the call), found by counting them in a run."""
    cases = []
    for kind, save in _SAVES:

        def count(folder, kind=kind, save=save):
            line = bench.line(kind, folder / 'run', options=OPTIONS)
            fault = dict(do='DieAtCall', save=save, call=0)
            bench.run(line, folder / 'log', fault=fault, quick=True)

        folder = bench.once(f'calls-{kind}-{save}', count)
        (calls,) = notes(folder / 'log', 'calls')
        numbers = _chosen(calls, random.Random(f'{kind}{save}'))
        cases += [(kind, save, number + 1, calls[number]) for number in numbers]
    return cases


def _chosen(calls, rng):
    """All but the writes, of which torch makes a thousand: these with a neighbour, and some."""
    others = {number for number, name in enumerate(calls) if name != 'write'}
    beside = {number + step for number in others for step in (-1, 1)}
    some = rng.sample(range(len(calls)), min(_WRITES, len(calls)))
    return sorted((others | beside | {*some}) & {*range(len(calls))})


def die_at_call(trial):
    """Killed, examined as it lies there, and continued."""
    kind, save, call, name = _cases(trial.bench)[trial.number]
    reference = trial.bench.reference(kind, options=OPTIONS, quick=True)
    line = trial.bench.line(kind, trial.work_dir, options=OPTIONS)
    trial.run(line, code=-9, fault=dict(do='DieAtCall', save=save, call=call), quick=True)
    good = [found.step for found in verified(trial.work_dir)]
    trial.facts |= {'save': save, 'call': f'{call} {name}', 'good': len(good)}
    trial.check(good or save == 1, 'no verified checkpoint is left')
    trial.finish(
        trial.bench.line(kind, trial.work_dir, '--resume', options=OPTIONS), reference, quick=True
    )
    loaded = state_of(trial.work_dir)['resumed_from']
    trial.check(
        bool(loaded) == bool(good) and (not good or Path(loaded).name in _names(kind, good)),
        f'resumed from {loaded}, although those of steps {good} were whole',
    )
    aside = [path.name for path in trial.work_dir.glob('*.corrupt')]
    trial.check(not aside, f'half a file was taken for a checkpoint: {aside}')


def _names(kind, good):
    return {f'iter_{good[0]}.pth', 'best.pth'}


SCENES = [
    Scene(
        'save',
        'SIGKILL before each system call of a save (of its writes: some), then --resume',
        die_at_call,
        full=lambda bench: len(_cases(bench)),
        short=(9,),
    )
]
