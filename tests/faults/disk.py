"""A disk that is full or broken: in a save, in the log, at the start."""

import os
import subprocess
from contextlib import contextmanager
from itertools import product

from mae.fault_tolerance.checkpoint import verified
from tests.faults.bench import state_of, tail
from tests.faults.scene import Scene
from tests.faults.stop import OPTIONS

_CODES = ('ENOSPC', 'EIO', 'EDQUOT')
# (what is done, arguments): a save that fails at a share of its bytes, or in another call.
_CASES = [
    *(('save', dict(call='write', code=c, share=s)) for c, s in product(_CODES, (0.0, 0.5, 0.99))),
    *(('save', dict(call=call, code='EIO')) for call in ('open', 'fsync', 'replace')),
    ('log', {}),
    ('start', {}),
    ('full', {}),
]


def disk(trial):
    """The run ends as if nothing had been, or refuses to begin."""
    what, arguments = _CASES[trial.number]
    trial.facts |= {'where': what, **arguments}
    {'save': _in_save, 'log': _in_log, 'start': _at_start, 'full': _really_full}[what](
        trial, **arguments
    )


def _in_save(trial, **arguments):
    """The third save fails at every attempt, until the next is due."""
    _goes_on(trial, dict(do='Refuse', file='iter_9.pth', **arguments))
    said = trial.log.read_text()
    trial.check('iter_9.pth could not be saved (attempt 1)' in said, 'nothing was said of it')
    trial.check(not [*trial.work_dir.glob('.*.tmp')], 'half a file was left')


def _in_log(trial):
    """Log and scalars go to /dev/full, which is what it is called."""
    _goes_on(trial, dict(do='FullLog', step=4))
    trial.check('logging failed' in trial.log.read_text(), 'nothing was said of it')


def _goes_on(trial, fault):
    reference = trial.bench.reference('mae', options=OPTIONS, quick=True)
    line = trial.bench.line('mae', trial.work_dir, options=OPTIONS)
    trial.finish(line, reference, quick=True, fault=fault)
    good = len([*verified(trial.work_dir)])
    trial.check(good == 2, f'{good} verified checkpoints instead of 2')


def _at_start(trial):
    """A file system that cannot hold one checkpoint: refused, and nothing is left there."""
    with _small(trial, 60) as folder:
        line = trial.bench.line('mae', folder / 'run', options=OPTIONS)
        trial.run(line, code=1, quick=True)
        told = [x for x in trial.log.read_text().splitlines() if x.startswith('error: ')]
        trial.check(
            len(told) == 1 and ' free, and one checkpoint takes' in told[0], tail(trial.log)
        )


def _really_full(trial):
    """A file system that fills up at step 4 and is freed at step 10."""
    trial.work_dir.mkdir()
    with _small(trial, 2000) as folder:
        reference = trial.bench.reference('mae', options=OPTIONS, quick=True)
        line = trial.bench.line('mae', folder, options=OPTIONS)
        fault = dict(do='Ballast', folder=str(folder), first=4, last=10)
        trial.run(line, quick=True, fault=fault)
        state = state_of(folder)
        trial.check('No space left' in trial.log.read_text(), 'the disk was not full')
        trial.check(state['weights_sha256'] == reference.sha256, 'other weights')
        good = len([*verified(folder)])
        trial.check(good == 2, f'{good} verified checkpoints instead of 2')


@contextmanager
def _small(trial, kilobytes):
    """A file system of its own in memory, which takes root to mount."""
    folder = trial.folder / 'small'
    folder.mkdir()
    trial.check(os.geteuid() == 0, 'only root can mount a small file system')
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', folder]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=False, capture_output=True)


SCENES = [
    Scene(
        'disk',
        'ENOSPC, EIO, EDQUOT in a save, in the log, at the start: goes on, or refuses clearly',
        disk,
        # Two of them need a small file system, which only root can mount.
        full=len(_CASES) if os.geteuid() == 0 else len(_CASES) - 2,
        short=(1, 12),
    )
]
