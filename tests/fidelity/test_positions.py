"""Positions at the sizes that are used: the formula, and timm's resampling of learned ones.

Figures: `pytest tests/fidelity/test_positions.py -rP`.
"""

import numpy as np
import pytest
import torch
from timm.layers import resample_abs_pos_embed

from mae.models.encoders import ViTEncoder
from mae.models.layers.pos_embed import sincos_pos_embed
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


@pytest.mark.parametrize('size', [448, (160, 288), (224, 336), 112])
def test_learned_positions_are_resampled_as_timm_does(size):
    """By the way a checkpoint of 224 pixels takes into a classifier of another size."""
    with torch.device('meta'):
        encoder = ViTEncoder('base', size)
    grid = encoder.grid_size
    model = MODELS.build(
        dict(
            type='Classifier',
            encoder=dict(
                type='ViTEncoder',
                arch=dict(embed_dim=768, depth=1, num_heads=12),
                img_size=size,
                trainable_pos=True,
            ),
            head=dict(type='LinearHead', num_classes=2),
            loss=dict(type='CrossEntropyLoss'),
            preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
        )
    )
    learned = sincos_pos_embed(768, (14, 14), 1) + 0.3 * torch.randn(1, 197, 768)
    weights = {'encoder.pos_embed': learned.clone()}
    (line,) = model.adapt_weights(weights)
    found = weights['encoder.pos_embed']
    expected = resample_abs_pos_embed(learned, list(grid), num_prefix_tokens=1)
    deviation = (found - expected).abs().max().item()
    print(f'14x14 to {grid[0]}x{grid[1]}: largest deviation {deviation:.1e}; {line}')
    assert found.shape == (1, 1 + grid[0] * grid[1], 768)
    assert deviation < 1e-6
    assert torch.equal(found[:, :1], learned[:, :1])
