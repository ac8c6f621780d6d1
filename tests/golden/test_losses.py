"""The loss curve of a fixed tiny run: a refactor leaves it alone, bit for bit on one machine.

Other CPUs and versions of torch round differently, hence the tolerance. A change of the numbers on
purpose writes the file anew and says why: `pytest tests/golden --update-golden`.
"""

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

import mae.datasets
import mae.models
from mae.engine import Runner

GOLDEN = Path(__file__).parent

assert mae.datasets
assert mae.models

# 520 digits, 128 a step: five epochs of four steps, each in two micro-batches.
CONFIG = dict(
    default_scope='mae',
    base_lr=4e-3,
    global_batch_size=128,
    model=dict(
        type='MAE',
        preprocessor=dict(type='ImagePreprocessor', mean=[78.0], std=[96.0]),
        encoder=dict(
            type='ViTEncoder',
            arch=dict(embed_dim=48, depth=3, num_heads=4),
            img_size=16,
            patch_size=4,
            in_channels=1,
        ),
        masker=dict(type='RandomMasker', mask_ratio=0.75),
        decoder=dict(type='TransformerDecoder', embed_dim=32, depth=2, num_heads=4),
        target=dict(type='PixelTarget', norm_pix=False),
        loss=dict(type='MaskedMSELoss'),
    ),
    train_dataloader=dict(
        batch_size=64,
        num_workers=0,
        sampler=dict(type='GlobalBatchSampler', shuffle=True),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(
                type='Subset', source=dict(type='Digits', split='train', img_size=16), per_class=52
            ),
            pipeline=[dict(type='RandomFlip'), dict(type='PackInputs')],
        ),
    ),
    optim_wrapper=dict(
        type='StepOptimWrapper',
        optimizer=dict(type='AdamW', betas=(0.9, 0.95), weight_decay=0.05),
        constructor='GroupedOptimConstructor',
    ),
    param_scheduler=dict(type='WarmupCosineLR', warmup_epochs=1),
    train_cfg=dict(type='TrainLoop', max_epochs=5),
    default_hooks=dict(
        timer=dict(type='IterTimerHook'), checkpoint=dict(type='CheckpointHook', interval=100)
    ),
    visualizer=dict(type='Visualizer', vis_backends=[]),
    randomness=dict(seed=0),
)


class Curve(Hook):
    """The loss of each step and the ids of its samples."""

    def __init__(self):
        self.losses = []
        self.ids = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))
        self.ids.append([sample for batch in data_batch for sample in batch['ids'].tolist()])


# Cross-attention, a quarter of the patches predicted, a first epoch at 8x8 pixels.
CHANGED_MATHS = {
    'model.decoder.type': 'CrossDecoder',
    'model.masker.predict_ratio': 0.25,
    'custom_hooks': [dict(type='LowResolutionHook', img_size=8, epochs=1)],
    'train_cfg.max_epochs': 2,
}


@pytest.mark.parametrize(
    ('file', 'changes', 'steps'), [('losses', {}, 20), ('changed_maths', CHANGED_MATHS, 8)]
)
def test_losses(tmp_path, request, file, changes, steps):
    curve = Curve()
    config = Config({**CONFIG, 'work_dir': str(tmp_path), 'experiment_name': f'golden-{file}'})
    config.merge_from_dict(changes)
    runner = Runner.from_cfg(config)
    runner.register_hook(curve)
    runner.train()
    found = {'first_ids': [ids[:4] for ids in curve.ids], 'losses': curve.losses}
    assert len(curve.losses) == steps
    path = GOLDEN / f'{file}.json'
    if request.config.getoption('--update-golden'):
        path.write_text(json.dumps(found, indent=1) + '\n')
    golden = json.loads(path.read_text())
    assert found['first_ids'] == golden['first_ids']
    assert found['losses'] == pytest.approx(golden['losses'], rel=1e-5)
