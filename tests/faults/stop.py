"""Stopped at every step of two epochs, by a signal that the run sends itself at the step's end."""

from tests.faults.bench import state_of
from tests.faults.scene import Scene

OPTIONS = ('train_cfg.max_epochs=2',)
_WORKERS = (0, 1, 4)
DENSE = {'seg': 14, 'det': 12}  # steps of the run


def stop_at(trial):
    """Pre-training with 0, 1 and 4 workers; then fine-tuning, with each of these in turns."""
    cases = [('mae', step, workers) for workers in _WORKERS for step in range(1, 23)]
    cases += [('ft', step, _WORKERS[step % 3]) for step in range(1, 25)]
    kind, step, workers = cases[trial.number]
    reference = trial.bench.reference(kind, options=OPTIONS, quick=True)
    details = dict(workers=workers, options=OPTIONS)
    fault = dict(do='Signal', at='end', step=step)
    line = trial.bench.line(kind, trial.work_dir, **details)
    trial.run(line, code=143, fault=fault, quick=True)
    found = state_of(trial.work_dir).get('step')
    trial.check(found == step, f'stopped at step {found} instead of {step}')
    trial.finish(
        trial.bench.line(kind, trial.work_dir, '--resume', **details), reference, quick=True
    )


def stop_dense(trial):
    """Segmentation, counted in steps, then detection; with 0, 1 and 4 workers in turns."""
    cases = [(kind, step) for kind, steps in DENSE.items() for step in range(1, steps + 1)]
    kind, step = cases[trial.number]
    reference = trial.bench.reference(kind, quick=True)
    workers = _WORKERS[step % 3]
    fault = dict(do='Signal', at='end', step=step)
    line = trial.bench.line(kind, trial.work_dir, workers=workers)
    trial.run(line, code=143, fault=fault, quick=True)
    found = state_of(trial.work_dir).get('step')
    trial.check(found == step, f'stopped at step {found} instead of {step}')
    line = trial.bench.line(kind, trial.work_dir, '--resume', workers=workers)
    trial.finish(line, reference, quick=True)


def stop_probe(trial):
    """A linear probe on two processes, at a random step; every second one is killed there."""
    reference = trial.bench.reference('probe', processes=2)
    step = trial.rng.randint(2, 41)
    name, code = (('SIGTERM', 143), ('SIGKILL', 1))[trial.number % 2]
    fault = dict(do='Signal', at='end', step=step, name=name, rank=1)
    trial.run(trial.bench.line('probe', trial.work_dir, processes=2), code=code, fault=fault)
    trial.facts |= {'step': step, 'signal': name}
    trial.finish(trial.bench.line('probe', trial.work_dir, '--resume', processes=2), reference)


SCENES = [
    Scene(
        'stop',
        'stopped at every step of two epochs, with 0, 1 and 4 data workers, then --resume',
        stop_at,
        full=90,
        short=(43, 81),
    ),
    Scene(
        'stopdense',
        'segmentation and detection stopped at every step, with 0, 1 and 4 workers, then --resume',
        stop_dense,
        full=sum(DENSE.values()),
        short=(4, 20),
    ),
    Scene(
        'probe2',
        'a linear probe on two processes stopped or killed at any step, then --resume',
        stop_probe,
        full=10,
        short=(),
        cores=2,
    ),
]
