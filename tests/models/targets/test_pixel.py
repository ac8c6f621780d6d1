import statistics

import pytest
import torch

from mae.models.layers.patches import patchify
from mae.models.targets import PixelTarget

FACTS = dict(patch_size=2, in_channels=3)
IDS = torch.tensor([[4, 0, 5], [1, 3, 2]])


def test_normalised_per_patch(ask):
    images = torch.rand(2, 3, 4, 6, dtype=torch.float64) * 5 + 2
    plain = ask(PixelTarget(norm_pix=False, **FACTS), images, 2, IDS)
    out = ask(PixelTarget(**FACTS), images, 2, IDS)
    assert out.shape == (2, 3, 12) == (*plain.shape[:2], PixelTarget(**FACTS).target_dim)
    for patch, found in zip(plain.flatten(0, 1).tolist(), out.flatten(0, 1), strict=True):
        mean, variance = statistics.fmean(patch), statistics.variance(patch)
        expected = [(value - mean) / (variance + 1e-6) ** 0.5 for value in patch]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_flat_patch_gives_zeros(ask):
    out = ask(PixelTarget(**FACTS), torch.full((1, 3, 4, 6), 7.0), 2)
    assert torch.equal(out, torch.zeros_like(out))


def test_plain_pixels_are_those_of_the_patches_asked_for(ask):
    images = torch.rand(2, 3, 4, 6)
    out = ask(PixelTarget(norm_pix=False, **FACTS), images, 2, IDS)
    for row, ids in enumerate(IDS.tolist()):
        for place, number in enumerate(ids):
            y, x = divmod(number, 3)
            cut = images[row, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            assert torch.equal(out[row, place], cut.permute(1, 2, 0).flatten())


def test_a_perfect_prediction_is_the_true_patch(ask):
    images = torch.rand(2, 3, 4, 6, dtype=torch.float64)
    plain = ask(PixelTarget(norm_pix=False, **FACTS), images, 2, IDS)
    for norm_pix in (False, True):
        target = PixelTarget(norm_pix, **FACTS)
        pixels = target.to_pixels(ask(target, images, 2, IDS), images, IDS)
        torch.testing.assert_close(pixels, plain)


def test_a_prediction_of_zero_is_the_mean_of_the_true_patch(ask):
    images = torch.rand(2, 3, 4, 6)
    pixels = PixelTarget(**FACTS).to_pixels(torch.zeros(2, 3, 12), images, IDS)
    expected = images[0, :, 2:, 2:4].mean()  # patch 4 lies at row 1, column 1
    torch.testing.assert_close(pixels[0, 0], expected.expand(12))


def test_visible_statistics_know_nothing_of_the_hidden_patches():
    images = torch.rand(2, 3, 4, 6, dtype=torch.float64)
    target, pred = PixelTarget(**FACTS), torch.randn(2, 3, 12, dtype=torch.float64)
    changed = images.clone()
    for row, ids in enumerate(IDS.tolist()):
        for number in ids:
            y, x = divmod(number, 3)
            changed[row, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = 9.0
    shown = target.to_pixels(pred, images, IDS, patch_stats='visible')
    assert torch.equal(shown, target.to_pixels(pred, changed, IDS, patch_stats='visible'))
    assert not torch.equal(shown, target.to_pixels(pred, images, IDS))


def test_visible_statistics_are_the_average_of_the_visible_patches():
    images = torch.rand(1, 3, 4, 6, dtype=torch.float64)
    patches = patchify(images, 2)[0, [1, 2, 3]]  # not among IDS[0]
    expected = (patches.mean(-1) + (patches.var(-1) + 1e-6).sqrt()).mean()
    pred = torch.ones(1, 3, 12, dtype=torch.float64)
    shown = PixelTarget(**FACTS).to_pixels(pred, images, IDS[:1], patch_stats='visible')
    torch.testing.assert_close(shown, expected.expand_as(shown))


def test_other_statistics_are_refused():
    with pytest.raises(ValueError, match=r"patch_stats must .*'true' .*'visible', .*'none'"):
        PixelTarget(**FACTS).to_pixels(*[torch.zeros(1)] * 3, patch_stats='none')
