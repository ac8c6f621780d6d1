"""TERM, USR1 and INT in the midst of a step, of waiting for data, of a save, of a validation."""

from itertools import product

from tests.faults.bench import state_of
from tests.faults.scene import Scene

_CASES = list(
    product(
        (('SIGTERM', 143), ('SIGUSR1', 143), ('SIGINT', 130)),
        ('step', 'data', 'save', 'evaluation'),
    )
)


def signal_in(trial):
    """Each signal in each place, at a random step."""
    (name, code), place = _CASES[trial.number]
    reference = trial.bench.reference('ft', quick=True)
    details = dict(workers=int(place == 'data'))
    # The data of the first epoch only: from the second on its order is another.
    step = trial.rng.randint(4, 12) if place == 'data' else trial.rng.randint(4, 50)
    fault = dict(do='Signal', at=place, step=step, name=name)
    trial.run(trial.bench.line('ft', trial.work_dir, **details), code=code, fault=fault, quick=True)
    state = state_of(trial.work_dir)
    trial.facts |= {'signal': name, 'place': place, 'step': state['step']}
    trial.check(
        (state['state'], state['reason'], state['exit_code']) == ('stopped', name, code),
        f'run.json says {state}',
    )
    line = trial.bench.line('ft', trial.work_dir, '--resume', **details)
    trial.finish(line, reference, quick=True)


SCENES = [
    Scene(
        'signals',
        'TERM, USR1, INT in a step, a wait for data, a save, a validation: exit status, --resume',
        signal_in,
        full=len(_CASES),
        short=(1, 6, 11),
    )
]
