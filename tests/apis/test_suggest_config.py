"""Of configs whose model is the same, the plainest is suggested."""

import pytest
import torch

from mae.apis.suggest_config import matching_config


def weights(width, depth, patch, *more):
    blocks = [f'encoder.blocks.{block}.norm1.weight' for block in range(depth)]
    patches = {'encoder.patch_embed.proj.weight': torch.empty(width, 3, patch, patch)}
    return {**patches, **dict.fromkeys((*blocks, *more), torch.empty(1))}


@pytest.mark.parametrize(
    ('found', 'config'),
    [
        (weights(768, 12, 16), 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'),
        (weights(1024, 24, 16), 'vit-large-p16_ft-8xb128-amp-coslr-50e_in1k'),
        (weights(1280, 32, 14), 'vit-huge-p14_ft-8xb128-amp-coslr-50e_in1k'),
        (
            weights(1280, 32, 14, 'decoder.norm.weight'),
            'mae_vit-huge-p14_8xb512-amp-coslr-1600e_in1k',
        ),
        (weights(768, 11, 16), None),
        (weights(768, 12, 15), None),
        ({}, None),
    ],
)
def test_plainest_config(found, config):
    assert matching_config(found) == config
