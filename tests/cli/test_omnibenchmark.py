"""OmniBenchmark by config: features of frozen weights, a probe for each realm."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mae.apis import init_model, load_config

LOADER = """dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='OmniBenchmark', root={root!r}, split={split!r}, realms={realms}),
        pipeline=[dict(type='DecodeImage'), dict(type='CenterCrop'), dict(type='PackInputs')],
    ),
)"""
CONFIG = """
_base_ = 'mae::_base_/default_runtime.py'
model = dict(
    type='Classifier',
    preprocessor=dict(type='ImagePreprocessor', mean=[120.0] * 3, std=[60.0] * 3),
    encoder=dict(
        type='ViTEncoder',
        arch=dict(embed_dim=24, depth=1, num_heads=2),
        img_size=32,
        patch_size=16,
    ),
    head=dict(type='LinearHead', num_classes=7),
    loss=dict(type='CrossEntropyLoss'),
)
test_dataloader = {test}
test_cfg = dict(
    type='GroupProbeLoop',
    bank_dataloader={train},
    val_bank_dataloader={val},
    penalties=[1e-4, 1.0],
    max_iter=30,
)
test_evaluator = [dict(type='Accuracy', topk=1), dict(type='PerClass')]
"""
COLORS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 60]])


@pytest.fixture
def root(tmp_path):
    """Two realms: of cars two colours, of food four; in val and test with more noise."""
    rng = np.random.default_rng(0)
    for realm, num_classes in (('car', 2), ('food', 4)):
        for split, count in (('train', 24), ('val', 12), ('test', 16)):
            folder = tmp_path / 'omni' / realm / f'{realm}.{split}' / 'images'
            folder.mkdir(parents=True)
            lines = []
            for number in range(count):
                label = number % num_classes
                noise = rng.integers(-40, 40, (32, 32, 3))
                image = (COLORS[label] + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(image).save(folder / f'{number}.jpg')
                lines.append(f'{split}/images/{number}.jpg {label}')
            lists = tmp_path / 'omni' / realm / 'annotations' / 'v2'
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f'{split}.txt').write_text('\n'.join(lines))
    return tmp_path / 'omni'


def config_of(root, realms):
    splits = ('train', 'val', 'test')
    loaders = {s: LOADER.format(root=str(root), split=s, realms=realms) for s in splits}
    return CONFIG.format(**loaders)


def test_by_config(root, tool, tmp_path):
    config, weights, out = tmp_path / 'omni.py', tmp_path / 'weights.pth', tmp_path / 'out.json'
    config.write_text(config_of(root, ['car', 'food']))
    model = init_model(load_config(config))
    state = {n: v for n, v in model.state_dict().items() if n.startswith('encoder.')}
    torch.save({'state_dict': state}, weights)  # frozen features need no head
    result = tool('test', config, weights, '--work-dir', tmp_path / 'run', '--out', out)
    assert result.code == 0, result.stderr
    metrics = json.loads(out.read_text())
    assert metrics['num_samples'] == 32
    assert not (tmp_path / 'run' / 'per_class.json').exists()
    for metric in ('top1', 'mean_per_class'):
        both = metrics[f'car_{metric}'], metrics[f'food_{metric}']
        assert metrics[metric] == pytest.approx(sum(both) / 2)
        assert 70 < metrics[metric] <= metrics[f'best_on_test_{metric}'] <= 100
    assert {metrics['car_penalty'], metrics['food_penalty']} <= {1e-4, 1.0}

    config.write_text(config_of(root, ['car', 'fish']))
    result = tool('test', config, weights, '--work-dir', tmp_path / 'other')
    assert "test_dataloader: OmniBenchmark: no realm 'fish'" in result.error
    config.write_text(config_of(root, ['car', 'bird']))
    result = tool('test', config, weights, '--work-dir', tmp_path / 'other')
    assert 'without a test list: bird; allow_missing=True takes the rest' in result.error
    assert not (tmp_path / 'other').exists()
