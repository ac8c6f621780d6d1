"""Levels of the necks: sizes, widths and strides as they say."""

import pytest
import torch

from mae.models.necks import FPNNeck, LevelsNeck, SimplePyramid


@pytest.mark.parametrize(
    ('neck', 'number'),
    [
        (LevelsNeck(embed_dim=16, patch_size=16, num_taps=4), 4),
        (FPNNeck(8, embed_dim=16, patch_size=16, num_taps=4), 5),
        (FPNNeck(8, embed_dim=16, patch_size=16, num_taps=4, norm='none'), 5),
        (SimplePyramid(8, embed_dim=16, patch_size=16), 5),
    ],
)
def test_levels_are_what_they_say(neck, number):
    neck.init_weights()
    maps = [torch.randn(2, 16, 4, 8) for _ in range(4)]
    levels = neck(maps)
    assert len(levels) == len(neck.channels) == len(neck.strides) == number
    for level, channels, stride in zip(levels, neck.channels, neck.strides, strict=True):
        assert level.shape == (2, channels, 64 // stride, 128 // stride)
        assert level.isfinite().all()


def test_a_single_patch_has_all_levels():
    for neck in (
        LevelsNeck(embed_dim=16, patch_size=16, num_taps=4).eval(),
        FPNNeck(8, embed_dim=16, patch_size=16, num_taps=4).eval(),
        SimplePyramid(8, embed_dim=16, patch_size=16),
    ):
        levels = neck([torch.randn(2, 16, 1, 3) for _ in range(4)])
        assert [tuple(level.shape[-2:]) for level in levels[2:4]] == [(1, 3), (1, 1)]


def test_other_numbers_of_maps_are_refused():
    with pytest.raises(ValueError, match='taps'):
        LevelsNeck(embed_dim=16, patch_size=16, num_taps=3)
