"""Runs so small that a test may train several: 160 digits of 8x8, five steps an epoch."""

import itertools

import pytest
from mmengine.config import Config

import mae.datasets
import mae.evaluation
import mae.models
from mae.engine import Runner
from tests.engine.processes import train_in_processes
from tests.small_run import OPTIM_WRAPPER, SMALL_RUN

assert mae.datasets
assert mae.evaluation
assert mae.models

_NUMBER = itertools.count()

ENCODER = dict(
    type='ViTEncoder',
    arch=dict(embed_dim=16, depth=2, num_heads=2),
    img_size=8,
    patch_size=2,
    in_channels=1,
)
PREPROCESSOR = dict(type='ImagePreprocessor', mean=[78.0], std=[96.0])
MAE = dict(
    type='MAE',
    preprocessor=PREPROCESSOR,
    encoder=ENCODER,
    masker=dict(type='RandomMasker'),
    decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
    target=dict(type='PixelTarget', norm_pix=False),
    loss=dict(type='MaskedMSELoss'),
)
# Everything random at once: drop path, mixup and cutmix, erasing.
CLASSIFIER = dict(
    type='Classifier',
    preprocessor=dict(
        **PREPROCESSOR,
        mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=10),
        erase=dict(prob=0.5, mode='pixel'),
    ),
    encoder=dict(ENCODER, drop_path_rate=0.3, trainable_pos=True, final_norm=False),
    head=dict(type='LinearHead', num_classes=10),
    loss=dict(type='CrossEntropyLoss', label_smoothing=0.1),
)


def loader(split, samples_per_class, sampler, *pipeline):
    digits = dict(type='Digits', split=split, img_size=8)
    source = dict(type='Subset', source=digits, per_class=samples_per_class)
    return dict(
        batch_size=32,
        num_workers=0,
        sampler=dict(type=sampler),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset', source=source, pipeline=[*pipeline, dict(type='PackInputs')]
        ),
    )


def tiny_runner(work_dir, changes=None, classify=False):
    """A runner of a tiny pre-training or, with `classify=True`, of a classifier.

    `changes` are dotted config keys.
    """
    config = dict(
        default_scope='mae',
        base_lr=4e-2,
        global_batch_size=32,
        model=CLASSIFIER if classify else MAE,
        train_dataloader=loader('train', 16, 'GlobalBatchSampler', dict(type='RandomFlip')),
        **SMALL_RUN,
        optim_wrapper=dict(
            **OPTIM_WRAPPER, paramwise_cfg=dict(layer_decay=0.65 if classify else None)
        ),
        train_cfg=dict(type='TrainLoop', max_epochs=3),
        work_dir=str(work_dir),
        # mmengine keeps one visualizer and message hub per name of an experiment.
        experiment_name=f'test{next(_NUMBER)}',
    )
    if classify:
        config |= dict(
            val_dataloader=loader('val', 5, 'ShardSampler'),
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(type='Accuracy', topk=(1, 5)),
        )
    config = Config(config)
    config.merge_from_dict(changes or {})
    return Runner.from_cfg(config)


@pytest.fixture
def make_runner(tmp_path):
    """`tiny_runner` of changes in a work dir below `tmp_path`."""

    def make(folder='run', changes=None, classify=False):
        return tiny_runner(tmp_path / folder, changes, classify)

    return make


@pytest.fixture(scope='session')
def _imported(tmp_path_factory):
    """What a run imports, once; a watchdog that is armed where it is forked would hang."""
    changes = {'train_cfg.max_epochs': 2, 'default_hooks.watchdog': None}
    tiny_runner(tmp_path_factory.mktemp('preload'), changes).train()


@pytest.fixture
def together(_imported, make_runner, tmp_path):
    """Trains in forked processes, with `hook` in the last: exit code; step, bad steps, hash."""

    def run(folder, hook=None, changes=(), classify=False, world=2):
        changes = {
            'launcher': 'pytorch',
            'train_dataloader.batch_size': 16,
            'train_cfg.max_epochs': 2,
            'default_hooks.checkpoint': dict(interval=4, by_epoch=False),
            'env_cfg': dict(dist_cfg=dict(timeout=60)),
            **dict(changes),
        }
        return train_in_processes(
            lambda: make_runner(folder, changes, classify), world, tmp_path, hook
        )

    return run
