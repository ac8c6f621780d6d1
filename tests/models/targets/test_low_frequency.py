"""An ideal low-pass filter, by what it must do to gratings and by a transform written out."""

import math

import pytest
import torch

from mae.models.targets import LowFrequencyTarget, PixelTarget

FACTS = dict(patch_size=4, in_channels=1)


def grating(rows, columns, size=(16, 24), phase=0.3):
    """A wave of so many periods down and across the image, (1, 1, H, W)."""
    y, x = (torch.arange(n, dtype=torch.float64) / n for n in size)
    wave = torch.cos(2 * math.pi * (rows * y[:, None] + columns * x) + phase)
    return wave[None, None]


def test_constant_images_are_unchanged():
    images = torch.full((2, 1, 16, 24), 0.7, dtype=torch.float64)
    torch.testing.assert_close(LowFrequencyTarget(cutoff=1e-6, **FACTS).low_pass(images), images)


@pytest.mark.parametrize(
    ('rows', 'columns', 'stays'),
    # In cycles per pixel .125 and .0833, .1875 and 0, 0 and .2083, .1875 and .125 (radius .225)
    [(2, 2, True), (3, 0, True), (0, 5, False), (3, 3, False), (8, 12, False), (-3, 1, True)],
)
def test_gratings_stay_or_vanish_whole(rows, columns, stays):
    wave = grating(rows, columns)
    out = LowFrequencyTarget(cutoff=0.2, **FACTS).low_pass(wave)
    torch.testing.assert_close(out, wave if stays else torch.zeros_like(wave))


def test_what_lies_on_the_circle_stays():
    """The paper's radius, 40 of 224: 24 and 32 periods have just that length."""
    wave = grating(24, 32, (224, 224))
    target = LowFrequencyTarget(patch_size=16, in_channels=1)
    torch.testing.assert_close(target.low_pass(wave), wave)
    wave = grating(25, 32, (224, 224))
    torch.testing.assert_close(target.low_pass(wave), torch.zeros_like(wave))


def test_linear_and_channel_by_channel():
    target = LowFrequencyTarget(cutoff=0.2, patch_size=4, in_channels=3)
    a, b = torch.randn(2, 2, 3, 16, 24, dtype=torch.float64)
    torch.testing.assert_close(
        target.low_pass(2 * a - b), 2 * target.low_pass(a) - target.low_pass(b)
    )
    torch.testing.assert_close(target.low_pass(a)[:, 1:2], target.low_pass(a[:, 1:2]))
    torch.testing.assert_close(target.low_pass(target.low_pass(a)), target.low_pass(a))


def test_against_a_transform_written_as_matrices():
    images = torch.randn(1, 1, 12, 20, dtype=torch.float64)
    H, W = images.shape[-2:]
    y, x = (torch.arange(n, dtype=torch.float64) for n in (H, W))
    rows, columns = (torch.exp(-2j * math.pi * n[:, None] * n / len(n)) for n in (y, x))
    spectrum = rows @ images[0, 0].to(torch.complex128) @ columns
    far = (torch.minimum(y, H - y) / H)[:, None] ** 2 + (torch.minimum(x, W - x) / W) ** 2
    spectrum[far > 0.2**2] = 0
    expected = (rows.conj() @ spectrum @ columns.conj() / (H * W)).real
    found = LowFrequencyTarget(cutoff=0.2, **FACTS).low_pass(images)[0, 0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('norm_pix', [True, False])
def test_with_every_frequency_it_is_the_pixel_target(ask, norm_pix):
    images = torch.randn(2, 1, 16, 24, dtype=torch.float64)
    found = ask(LowFrequencyTarget(norm_pix, cutoff=0.7072, **FACTS), images, 4)
    torch.testing.assert_close(found, ask(PixelTarget(norm_pix, **FACTS), images, 4))


@pytest.mark.parametrize('norm_pix', [True, False])
def test_a_perfect_prediction_is_the_filtered_patch(ask, norm_pix):
    images, ids = torch.randn(1, 1, 16, 24, dtype=torch.float64), torch.tensor([[7, 2, 23]])
    target = LowFrequencyTarget(norm_pix, **FACTS)
    pixels = target.to_pixels(ask(target, images, 4, ids), images, ids)
    plain = ask(PixelTarget(norm_pix=False, **FACTS), target.low_pass(images), 4, ids)
    torch.testing.assert_close(pixels, plain)


def test_half_precision_images_are_filtered_in_float32():
    target = LowFrequencyTarget(**FACTS)
    images = torch.randn(1, 1, 16, 24).bfloat16()
    torch.testing.assert_close(target.low_pass(images), target.low_pass(images.float()))


@pytest.mark.parametrize('cutoff', [0.0, -1.0, math.nan])
def test_no_cutoff(cutoff):
    with pytest.raises(ValueError, match=r'^target.cutoff must be positive, [^\n]*$'):
        LowFrequencyTarget(cutoff=cutoff, **FACTS)
