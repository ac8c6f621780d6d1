"""Weights start as the recipe says, and nothing is forgotten: NaN first, then statistics."""

import math

import pytest
import torch

from mae.models.algorithms import MAE, Classifier
from mae.models.layers.pos_embed import sincos_pos_embed

ENCODER = dict(
    type='ViTEncoder',
    arch=dict(embed_dim=96, depth=2, num_heads=3),
    img_size=(32, 48),
    patch_size=16,
)
PREPROCESSOR = dict(type='ImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3)


def started(model):
    for param in model.parameters():
        param.data.fill_(torch.nan)
    model.init_weights()
    return model


def mae():
    return MAE(
        encoder=ENCODER,
        decoder=dict(type='TransformerDecoder', embed_dim=64, depth=2, num_heads=4),
        masker=dict(type='RandomMasker', mask_ratio=0.5),
        target=dict(type='PixelTarget'),
        loss=dict(type='MaskedMSELoss'),
        preprocessor=PREPROCESSOR,
    )


def classifier(norm):
    return Classifier(
        encoder={**ENCODER, 'trainable_pos': True},
        head=dict(type='LinearHead', num_classes=200, norm=norm),
        loss=dict(type='CrossEntropyLoss'),
        preprocessor=PREPROCESSOR,
    )


def check_uniform(name, values, bound):
    """Uniform in +-bound: extremes, deviation and mean."""
    count = values.numel()
    assert values.abs().max() <= bound, name
    assert values.abs().max() > bound * (1 - 20 / count), name
    assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 4 / math.sqrt(count), name
    assert abs(values.mean()) < 4 * bound / math.sqrt(3 * count), name


def check(name, param):
    if name.endswith('pos_embed'):
        dim = param.shape[-1]
        assert torch.equal(param.data, sincos_pos_embed(dim, (2, 3), 1)), name
    elif name.endswith(('cls_token', 'mask_token')):
        assert abs(param.std() / 0.02 - 1) < 4 / math.sqrt(2 * param.numel()), name
        assert abs(param.mean()) < 4 * 0.02 / math.sqrt(param.numel()), name
    elif name == 'head.fc.weight':
        assert abs(param.std() / 2e-5 - 1) < 0.03, name
    elif name == 'encoder.patch_embed.proj.bias':
        check_uniform(name, param, (3 * 16 * 16) ** -0.5)  # torch's start of a convolution
    elif name.endswith('.bias'):
        assert not param.any(), name
    elif param.ndim == 1:
        assert param.eq(1).all(), name
        assert 'norm' in name
    else:
        flat = param.flatten(1)
        check_uniform(name, flat, math.sqrt(6 / (flat.shape[0] + flat.shape[1])))  # Xavier


@pytest.mark.parametrize(
    'build', [mae, lambda: classifier('layer'), lambda: classifier('none')], ids=range(3)
)
def test_every_parameter(build):
    model = started(build())
    for name, param in model.named_parameters():
        assert not param.isnan().any(), name
        check(name, param.detach())


def test_frozen_positions_only_in_pre_training():
    frozen = {name for name, param in mae().named_parameters() if not param.requires_grad}
    assert frozen == {'encoder.pos_embed', 'decoder.pos_embed'}
    assert all(param.requires_grad for param in classifier('layer').parameters())


def test_batch_norm_starts_afresh():
    model = classifier('batch')
    model.head.fc_norm.running_mean.fill_(torch.nan)
    started(model)
    assert not model.head.fc_norm.running_mean.any()
    assert model.head.fc_norm.running_var.eq(1).all()


def test_same_seed_same_start():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(started(mae()).state_dict())
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
