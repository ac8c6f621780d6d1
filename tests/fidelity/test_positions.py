"""Positions at the sizes that are used: the formula, and the two ways to resample learned ones.

timm resamples with antialiasing; transformers and mmpretrain do not, like the authors.

Figures: `pytest tests/fidelity/test_positions.py -rP`.
"""

import math

import numpy as np
import pytest
import torch
from mmpretrain.models.utils import resize_pos_embed
from timm.layers import resample_abs_pos_embed
from transformers import ViTMAEConfig
from transformers.models.vit_mae.modeling_vit_mae import ViTMAEEmbeddings

from mae.apis import load_config
from mae.models.layers.pos_embed import resample_pos_embed, sincos_pos_embed
from mae.registry import MODELS


def formula(dim, height, width):
    """The class token's row of zeros, then the patches row by row: columns before rows."""
    omega = 1 / 10000 ** (np.arange(dim // 4) / (dim / 4))
    table = np.zeros((1 + height * width, dim))
    for patch in range(height * width):
        row, column = divmod(patch, width)
        parts = [f(place * omega) for place in (column, row) for f in (np.sin, np.cos)]
        table[1 + patch] = np.concatenate(parts)
    return table


@pytest.mark.parametrize('dim', [768, 1024, 1280, 512])
@pytest.mark.parametrize('grid', [(14, 14), (16, 16), (32, 32), (2, 3), (7, 11), (20, 5)])
def test_fixed_positions_are_the_formula(dim, grid):
    found = sincos_pos_embed(dim, grid, 1)[0].double().numpy()
    deviation = np.abs(found - formula(dim, *grid)).max()
    print(f'{dim} {grid}: largest deviation {deviation:.1e}')
    assert deviation < 1e-7


def timms(learned, grid):
    return resample_abs_pos_embed(learned, list(grid), num_prefix_tokens=1)


def transformers(learned, grid):
    side = math.isqrt(learned.shape[1] - 1)
    config = ViTMAEConfig(hidden_size=learned.shape[2], image_size=16 * side, patch_size=16)
    with torch.device('meta'):
        embeddings = ViTMAEEmbeddings(config)
    embeddings.position_embeddings = torch.nn.Parameter(learned)
    patches = torch.empty(1, 1 + grid[0] * grid[1], learned.shape[2])
    return embeddings.interpolate_pos_encoding(patches, 16 * grid[0], 16 * grid[1]).detach()


def mmpretrains(learned, grid):
    side = math.isqrt(learned.shape[1] - 1)
    return resize_pos_embed(learned, (side, side), grid)


def classifier(**encoder):
    return MODELS.build(
        dict(
            type='Classifier',
            encoder=dict(
                type='ViTEncoder',
                arch=dict(embed_dim=768, depth=1, num_heads=12),
                trainable_pos=True,
                **encoder,
            ),
            head=dict(type='LinearHead', num_classes=2),
            loss=dict(type='CrossEntropyLoss'),
            preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
        )
    )


@pytest.mark.parametrize(
    ('antialias', 'library'), [(True, timms), (False, transformers), (False, mmpretrains)]
)
@pytest.mark.parametrize('size', [448, (160, 288), (224, 336), 112])
def test_learned_positions_are_resampled_as_libraries_do(size, antialias, library):
    """By the way a checkpoint of 224 pixels takes into a classifier of another size."""
    model = classifier(img_size=size, pos_antialias=antialias)
    grid = model.encoder.grid_size
    learned = sincos_pos_embed(768, (14, 14), 1) + 0.3 * torch.randn(1, 197, 768)
    weights = {'encoder.pos_embed': learned.clone()}
    (line,) = model.adapt_weights(weights)
    found = weights['encoder.pos_embed']
    deviation = (found - library(learned, grid)).abs().max().item()
    print(f'14x14 to {grid[0]}x{grid[1]}: largest deviation {deviation:.1e}; {line}')
    assert found.shape == (1, 1 + grid[0] * grid[1], 768)
    assert deviation < 1e-6
    assert torch.equal(found[:, :1], learned[:, :1])


@pytest.mark.parametrize(('old', 'new', 'percent'), [(16, 32, 1.1), (14, 7, 3.2)])
def test_how_far_the_ways_lie_apart(old, new, percent):
    """Of the fixed positions of ViT-H/14 and ViT-B/16."""
    positions = sincos_pos_embed(1280 if old == 16 else 768, (old, old), 1)
    ours, authors = (
        resample_pos_embed(positions, (new, new), 1, antialias=antialias)
        for antialias in (True, False)
    )
    apart = 100 * ((ours - authors).norm() / authors.norm()).item()
    print(f'{old}x{old} to {new}x{new}: {apart:.2f} % of the norm')
    assert apart == pytest.approx(percent, abs=0.05)


@pytest.mark.parametrize(
    'name',
    [
        'vit-huge-p14_ft-32xb32-amp-coslr-50e_in1k-448',
        'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
        'vit-large-p16_linear-8xb2048-amp-coslr-90e_in1k',
    ],
)
def test_the_recipes_resample_as_the_authors(name):
    """Weights of 224 pixels into a recipe at 448; only its depth is made small."""
    arch = dict(embed_dim=64, depth=1, num_heads=4)
    options = {'model.encoder.arch': arch, 'model.encoder.img_size': 448}
    model = MODELS.build(load_config(name, options).model)
    side = model.encoder.grid_size[0]
    weights = {'encoder.pos_embed': torch.randn(1, 1 + (side // 2) ** 2, 64)}
    expected = transformers(weights['encoder.pos_embed'], (side, side))
    (line,) = model.adapt_weights(weights)
    assert line.endswith('positions, not antialiased')
    torch.testing.assert_close(weights['encoder.pos_embed'], expected)
