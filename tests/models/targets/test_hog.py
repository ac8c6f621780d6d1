"""Histograms of gradients: against loops, MaskFeat's in mmpretrain, and scikit-image's."""

import math

import numpy as np
import pytest
import torch
from skimage.feature import hog

from mae.models.targets import HOGTarget
from mae.models.targets.hog import sobel

IDS = torch.tensor([[5, 0, 3], [1, 2, 4]])


def by_loops(image, ids, p, c, bins):
    """The histograms of one image (C, H, W), pixel by pixel."""
    C, H, W = image.shape
    value = lambda k, y, x: float(image[k, mirror(y, H), mirror(x, W)])  # noqa: E731
    mirror = lambda i, n: -i if i < 0 else 2 * (n - 1) - i if i >= n else i  # noqa: E731
    found = []
    for number in ids:
        top, left = (p * index for index in divmod(number, W // p))
        n, histograms = p // c, {}
        for k in range(C):
            for y in range(p):
                for x in range(p):
                    down = right = 0.0
                    for step, weight in ((-1, 1), (0, 2), (1, 1)):
                        a, b = top + y, left + x
                        down += weight * (value(k, a + 1, b + step) - value(k, a - 1, b + step))
                        right += weight * (value(k, a + step, b + 1) - value(k, a + step, b - 1))
                    turn = math.atan2(right, down) % math.pi / math.pi
                    key = k, min(int(turn * bins), bins - 1), y // c, x // c
                    histograms[key] = histograms.get(key, 0.0) + math.hypot(down, right)
        cells = np.zeros((C, bins, n, n))
        for key, sum_ in histograms.items():
            cells[key] = sum_
        found.append((cells / np.linalg.norm(cells, axis=1, keepdims=True)).flatten())
    return np.stack(found)


@pytest.mark.parametrize(('bins', 'cell'), [(9, 4), (4, 8), (1, 2)])
def test_against_loops(ask, bins, cell):
    images = torch.randn(2, 2, 16, 24, dtype=torch.float64)
    target = HOGTarget(bins, cell_size=cell, patch_size=8, in_channels=2)
    out = ask(target, images, 8, IDS)
    assert out.shape == (2, 3, target.target_dim) == (2, 3, 2 * bins * (8 // cell) ** 2)
    for row in range(2):
        expected = by_loops(images[row], IDS[row].tolist(), 8, cell, bins)
        np.testing.assert_allclose(out[row], expected, rtol=1e-9)


def test_as_maskfeat_in_mmpretrain(ask):
    """Its generator without the Gaussian window, which the authors' ViT does not use either."""
    from mmpretrain.models.selfsup.maskfeat import HOGGenerator

    images = torch.randn(2, 3, 224, 224)
    theirs = HOGGenerator(nbins=9, pool=8, gaussian_window=0)(images)  # in the same layout
    ours = ask(HOGTarget(patch_size=16, in_channels=3), images, 16)
    assert ours.shape == theirs.shape == (2, 196, 108)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_as_scikit_image_where_definitions_agree(ask):
    """On an image of the second degree, away from the border.

    scikit-image takes central differences where MaskFeat has Sobel's, which agree there up to a
    factor, gives the border no gradient, and measures the angle from the other axis, which
    exchanges rows and columns. Neither interpolates between bins or cells.
    """
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (48, 64)), indexing='ij')
    image = (y - 20.3) ** 2 + 0.7 * (x - 33.7) ** 2 + 0.3 * (x - 9) * (y - 4)
    options = dict(pixels_per_cell=(8, 8), cells_per_block=(1, 1), block_norm='L2')
    theirs = hog(image.T.numpy(), 9, **options, feature_vector=False)[:, :, 0, 0]  # cells, of T
    target = HOGTarget(9, cell_size=8, patch_size=8, in_channels=1)
    ours = ask(target, image[None, None], 8)[0].reshape(6, 8, 9)
    inside = slice(1, -1)
    np.testing.assert_allclose(
        ours[inside, inside], theirs.transpose(1, 0, 2)[inside, inside], atol=1e-4
    )


@pytest.mark.parametrize(('degrees', 'bin_'), [(5, 0), (25, 1), (95, 4), (175, 8), (185, 0)])
def test_a_slope_is_one_direction(ask, degrees, bin_):
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (16, 24)), indexing='ij')
    angle = math.radians(degrees)
    image = math.cos(angle) * y + math.sin(angle) * x
    target = HOGTarget(9, cell_size=8, patch_size=8, in_channels=1)
    out = ask(target, image[None, None], 8)[0]
    middle = HOGTarget(9, cell_size=4, patch_size=4, in_channels=1)
    inner = ask(middle, image[None, None], 4)[0].reshape(4, 6, 9)[1:-1, 1:-1]
    expected = torch.nn.functional.one_hot(torch.tensor(bin_), 9).double()
    torch.testing.assert_close(inner, expected.expand_as(inner))
    assert (out.argmax(-1) == bin_).all()  # the mirrored border bends a few


def test_gradients_cross_from_patch_to_patch(ask):
    images = torch.zeros(1, 1, 8, 16)
    images[..., 8:] = 1.0  # an edge just between two patches
    out = ask(HOGTarget(9, patch_size=8, in_channels=1), images, 8)[0]
    expected = torch.nn.functional.one_hot(torch.tensor([4, 4]), 9).float()
    torch.testing.assert_close(out, expected)


def test_brightness_and_contrast_do_not_matter(ask):
    images = torch.rand(1, 3, 16, 24, dtype=torch.float64)
    target = HOGTarget(patch_size=8, in_channels=3)
    scale = torch.tensor([2.0, 0.5, 7.0]).view(3, 1, 1)
    torch.testing.assert_close(ask(target, scale * images + 3, 8), ask(target, images, 8))
    assert not ask(target, torch.ones_like(images), 8).any()


def test_autocast_does_not_round():
    images = torch.randn(1, 3, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        found = sobel(images)
    for a, b in zip(found, sobel(images), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('cell', [0, 5, 16])
def test_cells_that_do_not_fit(cell):
    message = rf'^target.cell_size={cell} .* patches of 8x8: .* 1, 2, 4, 8$'
    with pytest.raises(ValueError, match=message):
        HOGTarget(cell_size=cell, patch_size=8, in_channels=3)


def test_no_bins():
    with pytest.raises(ValueError, match=r'^target.num_bins must be positive, not 0$'):
        HOGTarget(0, patch_size=8, in_channels=3)
