"""Checkpoints that would run code when they are read, through the tools that read checkpoints."""

import pickle
import sys

from tests.fault_tolerance.checkpoint.test_hostile import BY_HAND, GADGETS, WAYS, write_zip
from tests.faults.bench import ROOT, tail
from tests.faults.scene import Scene
from tests.faults.stop import OPTIONS

_NAMES = [*GADGETS, *BY_HAND]
_PLAIN = 3  # of the trials start Python anew, as a user does


def gadget(trial):
    """Each gadget somewhere else in a file of another kind, given to another tool."""
    name = _NAMES[trial.number]
    canary = trial.folder / 'canary'
    way = trial.number % 4
    file = trial.folder / 'evil.pth'
    if way == 3:  # the newest of the work dir
        trial.work_dir.mkdir()
        file = trial.work_dir / 'iter_5.pth'
    place = _write(name, canary, file, trial.number)
    trial.facts |= {'gadget': name, 'place': place}
    bench, work_dir = trial.bench, trial.work_dir
    if way == 0:
        line = bench.line('mae', work_dir, '--load-from', file)
    elif way == 1:
        line = bench.line('ft', work_dir, '--resume', file)
    elif way == 2:
        words = [sys.executable, ROOT / 'tools/test.py', bench.configs['ft'], file]
        line = [*map(str, words), '--work-dir', str(work_dir)]
    else:
        line = bench.line('mae', work_dir, '--resume', options=OPTIONS)
    trial.facts['tool'] = ('--load-from', '--resume PATH', 'test.py', '--resume')[way]
    trial.run(line, code=0 if way == 3 else 1, quick=trial.number >= _PLAIN)
    said = trial.log.read_text()
    trial.check(not canary.exists(), 'it was run: the canary file is there')
    trial.check('Traceback' not in said, f'not told in one line: {tail(trial.log)}')
    if way == 3:
        aside = file.with_name(f'{file.name}.corrupt')
        trial.check(aside.exists() and 'set aside as' in said, 'it was not set aside')
    else:
        told = [text for text in said.splitlines() if text.startswith('error: ')]
        trial.check(len(told) == 1 and str(file) in told[0], f'not refused: {tail(trial.log)}')


def _write(name, canary, file, number):
    """Where in which kind of file it is."""
    if name in BY_HAND:
        code = BY_HAND[name].replace(b'CANARY', str(canary).encode())
        if number % 2:
            file.write_bytes(code)
            return 'plain pickle'
        write_zip(file, {'x/data.pkl': code, 'x/version': b'3\n', 'x/byteorder': b'little'})
        return 'archive'
    for turn in range(len(WAYS)):
        place, write = WAYS[(number + turn) % len(WAYS)]
        try:
            write(place(GADGETS[name](canary)), file)
        except (TypeError, pickle.PicklingError, AttributeError):
            continue  # this kind of file cannot hold it
        return f'{place.__name__} {write.__name__}'.replace('_', ' ')
    raise ValueError(f'no kind of file holds {name}')


SCENES = [
    Scene(
        'hostile',
        'checkpoints that would run code, given to the tools: refused, and nothing runs',
        gadget,
        full=len(_NAMES),
        short=(4, 11),
    )
]
