import statistics

import torch

from mae.models.targets import PixelTarget


def test_normalised_per_patch():
    patches = torch.rand(2, 3, 12, dtype=torch.float64) * 5 + 2
    out = PixelTarget()(patches)
    for patch, found in zip(patches.flatten(0, 1).tolist(), out.flatten(0, 1), strict=True):
        mean, variance = statistics.fmean(patch), statistics.variance(patch)
        expected = [(value - mean) / (variance + 1e-6) ** 0.5 for value in patch]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_flat_patch_gives_zeros():
    out = PixelTarget()(torch.full((1, 1, 12), 7.0))
    assert torch.equal(out, torch.zeros_like(out))


def test_plain_pixels_pass():
    patches = torch.rand(2, 3, 12)
    assert torch.equal(PixelTarget(norm_pix=False)(patches), patches)
