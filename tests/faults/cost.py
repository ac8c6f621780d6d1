"""What all this costs a step: seconds inside the hooks that watch, of those that training takes."""

from tests.faults.notes import notes
from tests.faults.pictures import write_good
from tests.faults.scene import Scene

_HOOKS = (
    "custom_imports={'imports':['tests.faults.inside']}",
    "custom_hooks=[{'type':'FaultHook'}]",
    'param_scheduler.warmup_epochs=0',
    'optim_wrapper.amp=None',
)
_DEMO = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
_BASE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'


def cost(trial):
    """A step of the demo, so small that all overhead shows; and ViT-B/16's with few images.

    The look at the gradients costs a step the same whatever its images: the recipe has 512.
    """
    images = (0, 16, 32)[trial.number]
    if not images:
        of, config, options = 'demo', _DEMO, ['train_cfg.max_epochs=30']
    else:
        of, config = f'base, {images} images', _BASE
        write_good(trial.folder / 'photos' / 'train' / 'class0', 96, size=224)
        options = [
            'train_cfg.max_epochs=1',
            f'global_batch_size={images}',
            f'train_dataloader.batch_size={images}',
            'train_dataloader.num_workers=0',
            f'train_dataloader.dataset.source.root={trial.folder / "photos"}',
        ]
    line = trial.bench.line(config, trial.work_dir, options=[*_HOOKS, *options])
    trial.run(line, fault=dict(do='Cost'), quick=True)
    (found,) = notes(trial.log, 'cost')
    trial.facts |= {'of': of, **found}
    if images == 32:
        trial.check(found['percent'] < 0.5, f'{found["percent"]} % of the step')


def _figures(facts):
    return {fact['of']: {k: v for k, v in fact.items() if k != 'of'} for fact in facts if fact}


SCENES = [
    Scene(
        'cost',
        'guard, signals, watchdog, run.json, checkpoint checks: % of a step, one CPU core',
        cost,
        full=3,
        short=(),
        cores=2,
        sum_up=_figures,
    )
]
