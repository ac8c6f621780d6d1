"""NaN in the loss or in one gradient of one of two processes, once and for good."""

from itertools import product

import torch

from tests.faults.bench import state_of
from tests.faults.notes import notes
from tests.faults.scene import Scene

_CASES = list(product(('loss', 'gradient'), (True, False), ('ddp', 'fsdp')))
_FIRST = 8
_GUARD = [
    'default_hooks.guard.patience=3',
    'default_hooks.guard.max_rollbacks=2',
    'default_hooks.guard.margin=0',
    'train_cfg.max_epochs=3',
]


def spoil(trial):
    """One step: skipped by both. All from one on: back, twice, then the end."""
    what, once, parallel = _CASES[trial.number]
    fault = dict(do='Spoil', what=what, first=_FIRST, last=_FIRST if once else None)
    options = [*_GUARD, f'parallel.type={parallel}']
    line = trial.bench.line('mae', trial.work_dir, processes=2, options=options)
    trial.run(line, code=0 if once else 1, fault=fault)
    state = state_of(trial.work_dir)
    trial.facts |= {key: state.get(key) for key in ('bad_steps', 'rollbacks', 'reason', 'step')}
    said = trial.log.read_text()
    trial.check(f'step {_FIRST - 1}: ' in said, 'the bad step was not told of')
    if once:
        got = state['state'], state['bad_steps'], state['rollbacks']
        trial.check(got == ('finished', 1, 0), f'run.json says {got}')
        hashes = {*notes(trial.log, 'weights', 0), *notes(trial.log, 'weights', 1)}
        trial.check(len(hashes) == 1, 'the processes ended with different weights')
    else:
        got = state['state'], state['rollbacks']
        trial.check(got == ('failed', 2), f'run.json says {got}')
        trial.check('not finite' in state['reason'], f'the reason is {state["reason"]}')
        told = [line for line in said.splitlines() if line.startswith('error: ')]
        trial.check(len(told) == 1 and 'Traceback' not in said, 'not told in one line')
    files = list(trial.work_dir.glob('*.pth'))
    trial.check(bool(files), 'there is no checkpoint')
    for path in files:
        weights = torch.load(path, weights_only=True)['state_dict'].values()
        finite = all(bool(w.isfinite().all()) for w in weights if w.is_floating_point())
        trial.check(finite, f'{path.name} holds weights that are not finite')


SCENES = [
    Scene(
        'numbers',
        'NaN in loss or gradient of one of two processes, with DDP and FSDP2: skipped by both; for '
        'good: ended',
        spoil,
        full=len(_CASES),
        short=(0,),
        cores=2,
    )
]
