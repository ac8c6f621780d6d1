"""What all this costs a step: seconds inside the hooks that watch, of those that training takes."""

from tests.faults.acts import notes
from tests.faults.scene import Scene

_OPTIONS = (
    'train_cfg.max_epochs=30',
    'param_scheduler.warmup_epochs=0',
    "custom_imports={'imports':['tests.faults.inside']}",
    "custom_hooks=[{'type':'FaultHook'}]",
)
_CONFIG = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'


def cost(trial):
    """A run of the demo's pre-training, each hook of ours timed from around."""
    line = trial.bench.line(_CONFIG, trial.work_dir, options=_OPTIONS)
    trial.run(line, fault=dict(do='Cost'), quick=True)
    (found,) = notes(trial.log, 'cost')
    trial.facts |= {**found, 'of': f'{_CONFIG}, batch 64, one CPU core'}
    trial.check(found['percent'] < 0.5, f'{found["percent"]} % of the step')


SCENES = [
    Scene(
        'cost',
        'guard, signals, watchdog, run.json and checkpoint checks: share of the step',
        cost,
        full=1,
        short=(),
        cores=2,
        sum_up=lambda facts: facts[-1] if facts else {},
    )
]
