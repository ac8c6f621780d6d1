"""Learning rate and weight decay of every parameter at every step, as recipes state them.

The shipped configs with their global batch, epochs and depth; narrow layers, two steps an epoch in
two micro-batches each, and no gradients: what is compared is what the optimizer is about to use.
Figures: `pytest tests/fidelity/test_rates.py -rP`.
"""

from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel

from mae.apis import load_config
from mae.registry import DATASETS

STEPS = 2  # an epoch

# What the papers and the authors' repository state, and nothing that a config says.
FINETUNE = dict(warmup=5, floor=1e-6, weight_decay=0.05, plain_tokens=True)
RECIPES = {
    'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k': dict(
        lr=2.4e-3, warmup=40, epochs=400, weight_decay=0.05, depth=12
    ),
    'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k': dict(
        FINETUNE, depth=12, lr=2e-3, epochs=100, layer_decay=0.65
    ),
    'vit-base-p16_ft-8xb128-amp-coslr-100e-paper_in1k': dict(
        FINETUNE, depth=12, lr=4e-3, epochs=100, layer_decay=0.75
    ),
    'vit-large-p16_ft-8xb128-amp-coslr-50e_in1k': dict(
        FINETUNE, depth=24, lr=4e-3, epochs=50, layer_decay=0.75
    ),
    'vit-huge-p14_ft-32xb32-amp-coslr-50e_in1k-448': dict(
        FINETUNE, depth=32, lr=4e-3, epochs=50, layer_decay=0.75
    ),
    'vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k': dict(
        lr=6.4, warmup=10, epochs=90, weight_decay=0.0, depth=12, trained=('head.fc.',)
    ),
}


class ManyImages:
    """As long as it claims to be; whatever is asked for, it gives one image."""

    metainfo: ClassVar = {}

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitems__(self, requests):
        sample_id, key = requests[0]
        inputs = torch.zeros(3, 8, 8, dtype=torch.uint8)
        return [dict(inputs=inputs, label=0, id=sample_id, key=key)]


@pytest.fixture(autouse=True, scope='module')
def _registered():
    DATASETS.register_module(name='ManyImages', module=ManyImages, force=True)
    yield
    DATASETS.module_dict.pop('ManyImages')


class Settings(Hook):
    """(lr, weight decay) of each group as each optimizer step begins, and the names in it."""

    def __init__(self):
        self.seen = []

    def before_train(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        names = {param: name for name, param in runner.model.named_parameters()}
        self.groups = [[names[p] for p in group['params']] for group in optimizer.param_groups]
        self.ndim = {name: param.ndim for param, name in names.items()}
        self.trainable = {name for param, name in names.items() if param.requires_grad}
        optimizer.register_step_pre_hook(self.note)

    def note(self, optimizer, args, kwargs):
        groups = optimizer.param_groups
        self.seen.append([(group['lr'], group['weight_decay']) for group in groups])


def no_gradients(model, batch, optim_wrapper):
    """A training step that goes through the wrapper, the optimizer and nothing else."""
    loss = next(param for param in model.parameters() if param.requires_grad).sum() * 0
    optim_wrapper.update_params(loss)
    return {'loss': loss}


def small(name, depth):
    """The shipped config with narrow layers and no images, otherwise as it is."""
    cfg = load_config(name)
    encoder = cfg.model.encoder
    encoder.update(arch=dict(embed_dim=8, depth=depth, num_heads=2))
    encoder.img_size = 2 * encoder.patch_size
    if 'decoder' in cfg.model:
        cfg.model.decoder.update(embed_dim=8, num_heads=2)
    cfg.train_dataloader.update(
        num_workers=0, pin_memory=False, batch_size=cfg.global_batch_size // 2
    )
    cfg.train_dataloader.dataset = dict(
        type='ManyImages', length=int((STEPS + 0.5) * cfg.global_batch_size)
    )
    for kind in ('val', 'test'):
        for key in ('dataloader', 'cfg', 'evaluator'):
            cfg.pop(f'{kind}_{key}', None)
    cfg.custom_hooks = []
    cfg.default_hooks.checkpoint.interval = cfg.train_cfg.max_epochs
    return cfg


@pytest.mark.parametrize('name', RECIPES)
def test_every_parameter_at_every_step(name, make_runner, monkeypatch, rate):
    recipe = RECIPES[name]
    depth, last, layer_decay = recipe['depth'], recipe['depth'] + 1, recipe.get('layer_decay', 1)
    monkeypatch.setattr(BaseModel, 'train_step', no_gradients)
    runner, settings = make_runner(small(name, depth), {}), Settings()
    runner.register_hook(settings)
    runner.train()

    seen = [name for group in settings.groups for name in group]
    assert len(seen) == len(set(seen))
    assert set(seen) == settings.trainable
    if recipe.get('trained'):
        assert all(name.startswith(recipe['trained']) for name in seen)
    else:  # all but the fixed positions
        assert set(settings.ndim) - set(seen) <= {'encoder.pos_embed', 'decoder.pos_embed'}
    assert len(settings.groups) <= (2 * (depth + 2) if layer_decay != 1 else 2)

    def layer(name):
        """As the authors number them."""
        if name.startswith(('encoder.cls_token', 'encoder.pos_embed', 'encoder.patch_embed')):
            return 0
        return int(name.split('.')[2]) + 1 if name.startswith('encoder.blocks.') else last

    def decay(name):
        plain = recipe.get('plain_tokens') and name in ('encoder.cls_token', 'encoder.pos_embed')
        return 0.0 if settings.ndim[name] <= 1 or plain else recipe['weight_decay']

    schedule = {key: recipe.get(key, 0.0) for key in ('lr', 'warmup', 'epochs', 'floor')}
    curve = np.array(
        [rate(step / STEPS, **schedule) for step in range(STEPS * recipe['epochs'])]
    )  # steps
    scales = np.array([layer_decay ** (last - layer(name)) for name in seen])
    expected = curve[:, None] * scales  # steps, parameters
    members = [len(group) for group in settings.groups]
    found = np.repeat(np.array(settings.seen), members, axis=1)  # steps, parameters, 2
    assert found.shape[:2] == expected.shape
    deviation = np.abs(found[..., 0] - expected) / expected.max(axis=0)
    print(
        f'{name}: {expected.shape[0]} steps x {len(seen)} parameters in {len(members)} groups, '
        f'largest deviation of lr {deviation.max():.1e} of its peak'
    )
    assert deviation.max() < 1e-12
    assert np.array_equal(found[..., 1], np.broadcast_to([decay(n) for n in seen], expected.shape))
