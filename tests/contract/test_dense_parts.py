"""Necks and dense heads: `init_weights` sets every parameter, and a neck says what it gives."""

import inspect

import pytest
import torch

from tests.contract.conftest import registered

FACTS = {'embed_dim': 16, 'patch_size': 8, 'num_taps': 4, 'channels': (16,) * 4}
LEVELS = {'channels': (16,) * 5, 'strides': (2, 4, 8, 16, 32)}  # of a pyramid


def facts_of(part):
    """What encoder and neck tell a part."""
    names = inspect.signature(part).parameters
    facts = dict(FACTS)
    if 'necks' in part.__module__:
        del facts['channels']  # there the width of the result
    elif part.__name__ in ('RPN', 'RoIHead', 'CascadeRoIHead'):
        facts |= LEVELS
    return {name: value for name, value in facts.items() if name in names}


def build(part):
    """A part with NaN in every parameter, then started."""
    names = inspect.signature(part).parameters
    options = facts_of(part)
    if 'num_classes' in names:
        options['num_classes'] = 3
    module = part(**options)
    for parameter in module.parameters():
        parameter.data.fill_(torch.nan)
    module.init_weights()
    return module.eval()


@pytest.mark.parametrize('part', registered('necks').values(), ids=registered('necks'))
def test_necks(part):
    neck = build(part)
    levels = neck([torch.randn(2, 16, 4, 8) for _ in range(4)])
    for level, channels, stride in zip(levels, neck.channels, neck.strides, strict=True):
        assert level.shape == (2, channels, 32 // stride, 64 // stride)
        assert level.isfinite().all()


HEADS = {
    name: part
    for name, part in registered('heads').items()
    if 'channels' in inspect.signature(part).parameters
}


@pytest.mark.parametrize('part', HEADS.values(), ids=HEADS)
def test_heads_start_whole(part):
    head = build(part)
    assert all(parameter.isfinite().all() for parameter in head.parameters())
    if hasattr(head, 'classify') or hasattr(head, 'fc'):  # of segmentation
        logits = head([torch.randn(2, 16, 16 >> n, 24 >> n) for n in range(4)])
        assert logits.shape[:2] == (2, 3)
        assert logits.isfinite().all()


@pytest.mark.parametrize('part', HEADS.values(), ids=HEADS)
def test_no_classes(part):
    names = inspect.signature(part).parameters
    if 'num_classes' not in names:
        return
    with pytest.raises(ValueError, match=r'num_classes must be at least 1.*not 0'):
        part(**{**facts_of(part), 'num_classes': 0})
