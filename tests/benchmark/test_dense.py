"""Dense training steps beside torchvision's and transformers' around the same encoder."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from mmengine.config import Config

from mae.benchmark import compare
from mae.benchmark.settings import Settings

ENCODER = dict(
    type='DenseViTEncoder',
    arch=dict(embed_dim=16, depth=4, num_heads=2),
    img_size=64,
    patch_size=8,
    with_cls_token=False,
    final_norm=False,
    drop_path_rate=0.1,
)
COMMON = dict(
    encoder=ENCODER,
    taps=[0, 1, 2, 3],
    preprocessor=dict(type='DensePreprocessor', mean=[120.0] * 3, std=[60.0] * 3),
)
MODELS = {
    'segment': dict(
        COMMON,
        type='Segmenter',
        neck=dict(type='LevelsNeck'),
        head=dict(type='UPerHead', num_classes=5, width=8),
        auxiliary=dict(type='FCNHead', num_classes=5, width=8),
        loss=dict(type='PixelCrossEntropyLoss'),
    ),
    'detect': dict(
        COMMON,
        type='Detector',
        neck=dict(type='FPNNeck', channels=8),
        rpn=dict(type='RPN', sizes=[8, 16, 24, 32, 64], proposals=[(60, 40), (60, 40)]),
        roi=dict(type='RoIHead', num_classes=5, width=8, hidden=16, norm='batch', samples=16),
    ),
}
SINGLE_SCALE = dict(
    MODELS['detect'],
    taps=[3],
    neck=None,
    # as many samples of every image, for torchvision's loss is the mean over all of them
    rpn=dict(MODELS['detect']['rpn'], sizes=[24], ratios=[1.0], num_convs=1, samples=16),
    roi=dict(MODELS['detect']['roi'], box_side=1, box_convs=0),
)


def settings(model: dict, **options) -> Settings:
    config = Config(
        dict(
            model=model,
            train_dataloader=dict(batch_size=2),
            optim_wrapper=dict(
                type='StepOptimWrapper',
                optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.1),
                constructor='GroupedOptimConstructor',
                paramwise_cfg=dict(layer_decay=None),
            ),
        )
    )
    return Settings(config, 2, torch.device('cpu'), torch.float32, **options)


@pytest.mark.parametrize(
    ('task', 'peer', 'model'),
    [
        ('segment', 'transformers', MODELS['segment']),
        ('detect', 'torchvision', MODELS['detect']),
        ('detect', 'torchvision', SINGLE_SCALE),
    ],
    ids=['segment', 'detect', 'single-scale'],
)
def test_step_beside_the_peer(forked_workers, task, peer, model):
    if not importlib.util.find_spec(peer):
        pytest.skip(f'{peer} is not installed')
    report = compare.run(settings(model, cpu_time=True), [peer], task=task, rounds=1, steps=1)
    assert report['skipped'] == {}
    assert report['agree'] == {peer: True}
    assert report['ratio'][peer] > 0
    ours, theirs = report['systems']['mae'], report['systems'][peer]
    assert ours['loss'] == pytest.approx(theirs['loss'], rel=1e-5)
    assert ours['peak_memory_bytes'] > 0


@pytest.mark.parametrize(('task', 'kind'), [('segment', 'Detector'), ('detect', 'Segmenter')])
def test_the_other_kind_of_model_is_refused(task, kind):
    other = {'segment': 'detect', 'detect': 'segment'}[task]
    with pytest.raises(ValueError, match=f'its model is a {kind}, not'):
        compare.run(settings(MODELS[other]), [], task=task)


def test_a_segmenter_needs_two_images():
    with pytest.raises(ValueError, match='--batch must be at least 2'):
        compare.run(replace(settings(MODELS['segment']), batch_size=1), [], task='segment')
