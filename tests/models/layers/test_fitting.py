"""Weights for other images, against timm's."""

import pytest
import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models._manipulate import adapt_input_conv

from mae.models.encoders import ViTEncoder
from mae.models.layers.patches import adapt_patch_channels, patchify, resize_patch_weight
from mae.models.layers.pos_embed import resample_pos_embed, with_class_position


@pytest.mark.parametrize(
    ('old', 'new'),
    [((14, 14), (28, 28)), ((28, 28), (14, 14)), ((14, 14), (16, 10)), ((16, 10), (14, 14)),
     ((2, 3), (3, 2)), ((2, 8), (4, 4))],
)  # fmt: skip
def test_positions_are_timms(old, new):
    positions = torch.randn(1, 1 + old[0] * old[1], 8)
    expected = resample_abs_pos_embed(positions, list(new), list(old))
    torch.testing.assert_close(resample_pos_embed(positions, new, 1, old), expected)


def test_positions_to_448_and_back():
    positions = torch.randn(1, 197, 8)
    ours = resample_pos_embed(resample_pos_embed(positions, (28, 28), 1), (14, 14), 1)
    theirs = resample_abs_pos_embed(resample_abs_pos_embed(positions, [28, 28]), [14, 14])
    torch.testing.assert_close(ours, theirs)


def test_positions_that_do_not_fill_their_grid():
    with pytest.raises(ValueError, match=r'7 positions .* 2x3 grid'):
        resample_pos_embed(torch.zeros(1, 8, 4), (4, 4), 1, (2, 3))


def test_positions_of_patches_alone():
    patches = torch.randn(1, 9, 4)
    padded = with_class_position(patches, 1)
    assert torch.equal(padded, torch.cat([torch.zeros(1, 1, 4), patches], dim=1))
    assert with_class_position(padded, 1) is padded
    assert with_class_position(patches, 0) is patches
    assert with_class_position(torch.randn(1, 6, 4), 1, (2, 3)).shape == (1, 7, 4)
    assert with_class_position(torch.randn(1, 16, 4), 1, (3, 5)).shape == (1, 16, 4)


def test_an_encoder_fits_positions():
    encoder = ViTEncoder(dict(embed_dim=8, depth=1, num_heads=2), (8, 12), patch_size=4)
    own = torch.randn(1, 7, 8)
    assert encoder.fit_pos_embed(own) is own
    assert encoder.fit_pos_embed(own, (2, 3)) is own
    turned = encoder.fit_pos_embed(own, (3, 2))  # as many, but of another shape
    torch.testing.assert_close(turned, resample_abs_pos_embed(own, [2, 3], [3, 2]))
    patches = torch.randn(1, 6, 8)
    fitted = encoder.fit_pos_embed(patches, (2, 3))
    assert torch.equal(fitted, torch.nn.functional.pad(patches, (0, 0, 1, 0)))
    with pytest.raises(ValueError, match=r'5 positions .* square'):
        encoder.fit_pos_embed(torch.randn(1, 6, 8))


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 7])
def test_channels_are_timms(channels):
    weight = torch.randn(4, 3, 2, 2)
    expected = adapt_input_conv(channels, weight.clone())
    torch.testing.assert_close(adapt_patch_channels(weight, channels), expected)


def test_one_channel_to_three_gives_grey_images_the_same_tokens():
    weight, grey = torch.randn(4, 1, 2, 2), torch.randn(1, 1, 2, 2)
    fitted = adapt_patch_channels(weight, 3)
    torch.testing.assert_close((fitted * grey).sum((1, 2, 3)), (weight * grey).sum((1, 2, 3)))


@pytest.mark.parametrize(('old', 'new'), [(4, 8), (8, 4), (16, 14), (14, 16)])
def test_patches_are_timms(old, new):
    weight = torch.randn(3, 2, old, old)
    ours, theirs = resize_patch_weight(weight, new), resample_patch_embed(weight, [new, new])
    scale = theirs.abs().max()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=2e-4)  # theirs: float32


def test_enlarged_images_give_the_same_tokens():
    images = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    large = torch.nn.functional.interpolate(images, size=(8, 8), mode='bicubic', antialias=True)
    weight = torch.randn(5, 3, 4, 4, dtype=torch.float64)

    def tokens(images, weight):
        return patchify(images, weight.shape[-1]) @ weight.permute(0, 2, 3, 1).flatten(1).T

    torch.testing.assert_close(
        tokens(large, resize_patch_weight(weight, 8)), tokens(images, weight)
    )
