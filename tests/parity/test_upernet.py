"""UperNet's heads against those of transformers, with the same weights."""

import re

import pytest
import torch

from mae.models.heads import FCNHead, UPerHead

upernet = pytest.importorskip('transformers.models.upernet.modeling_upernet')
CHANNELS = (8, 12, 16, 20)
NAMES = (
    (r'psp_modules\.(\d)\.1\.', r'pooled.\1.'),
    (r'^fpn_bottleneck\.', 'fuse.'),
    (r'lateral_convs\.', 'laterals.'),
    (r'fpn_convs\.', 'smooth.'),
    (r'^classifier\.', 'classify.'),
    (r'\.conv\.', '.0.'),
    (r'\.batch_norm\.', '.1.'),
)


def build(theirs, ours, seed=0):
    """Both in evaluation mode with the same random weights and statistics."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in theirs.state_dict().items()
    }
    theirs.load_state_dict(weights)
    for old, new in NAMES:
        weights = {re.sub(old, new, name): value for name, value in weights.items()}
    ours.load_state_dict(weights)
    return theirs.eval(), ours.eval()


@pytest.fixture
def config():
    transformers = pytest.importorskip('transformers')
    return transformers.UperNetConfig(
        hidden_size=10, num_labels=7, auxiliary_channels=6, backbone_config={'model_type': 'resnet'}
    )


@pytest.fixture
def levels():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(2, C, 32 >> n, 48 >> n, generator=generator) for n, C in enumerate(CHANNELS)]


def test_head(config, levels):
    theirs, ours = build(
        upernet.UperNetHead(config, CHANNELS), UPerHead(7, width=10, channels=CHANNELS)
    )
    expected = theirs(levels)
    assert ours(levels).shape == (2, 7, 32, 48)
    assert torch.allclose(ours(levels), expected, rtol=1e-5)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_auxiliary_head(config, levels):
    theirs, ours = build(
        upernet.UperNetFCNHead(config, CHANNELS), FCNHead(7, width=6, channels=CHANNELS)
    )
    assert torch.allclose(ours(levels), theirs(levels), rtol=1e-5)
