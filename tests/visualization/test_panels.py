"""Panels show what the model saw, and what it predicted, in the right places."""

import numpy as np
import pytest
import torch

from mae.models.layers.patches import patchify
from mae.visualization.panels import as_pixels, reconstruction_panels

P = 4
GRID = (2, 3)
MEANS = {1: [78.0], 3: [123.675, 116.28, 103.53]}
STDS = {1: [96.0], 3: [58.395, 57.12, 57.375]}


def normalise(pixels, channels):
    mean, std = (torch.tensor(t[channels]).view(-1, 1, 1) for t in (MEANS, STDS))
    return (pixels.float() - mean) / std


@pytest.fixture(params=[1, 3])
def channels(request):
    return request.param


@pytest.fixture
def pixels(channels):
    return torch.randint(0, 256, (2, channels, GRID[0] * P, GRID[1] * P), dtype=torch.uint8)


@pytest.fixture
def ids_hide():
    return torch.tensor([[5, 0, 3, 4], [1, 2, 3, 5]])


def panels_of(pixels, pred, ids_hide, **options):
    channels = pixels.shape[1]
    return reconstruction_panels(
        normalise(pixels, channels),
        {'pred': pred, 'ids_hide': ids_hide},
        patch_size=P,
        mean=torch.tensor(MEANS[channels]),
        std=torch.tensor(STDS[channels]),
        **options,
    )


def hidden_patches(pixels, ids_hide):
    patches = patchify(normalise(pixels, pixels.shape[1]), P)
    return patches.gather(1, ids_hide[..., None].expand(-1, -1, patches.shape[-1]))


def hidden_pixels(ids_hide):
    """bool (H, W) of each image, written as loops."""
    masks = np.zeros((len(ids_hide), GRID[0] * P, GRID[1] * P), dtype=bool)
    for mask, ids in zip(masks, ids_hide.tolist(), strict=True):
        for index in ids:
            row, column = divmod(index, GRID[1])
            mask[row * P : (row + 1) * P, column * P : (column + 1) * P] = True
    return masks


def as_array(image):
    return image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()


def test_original_is_the_image(pixels, ids_hide):
    panels = panels_of(pixels, hidden_patches(pixels, ids_hide), ids_hide)
    for panel, image in zip(panels, pixels, strict=True):
        assert panel.original.dtype == np.uint8
        np.testing.assert_array_equal(panel.original, as_array(image))


def test_visible_patches_are_the_image_and_only_they(pixels, ids_hide):
    wrong = hidden_patches(pixels, ids_hide) + 5  # a prediction far off everywhere
    panels = panels_of(pixels, wrong.clamp(max=9), ids_hide)
    for panel, hidden in zip(panels, hidden_pixels(ids_hide), strict=True):
        np.testing.assert_array_equal(panel.masked[~hidden], panel.original[~hidden])
        np.testing.assert_array_equal(panel.reconstruction[~hidden], panel.original[~hidden])
        assert np.all(panel.masked[hidden] == 128)
        assert np.all(panel.reconstruction[hidden] == 255)


def test_perfect_prediction_gives_the_image_back(pixels, ids_hide):
    pred = hidden_patches(pixels, ids_hide)
    for panel in panels_of(pixels, pred, ids_hide):
        np.testing.assert_array_equal(panel.reconstruction, panel.original)


def test_the_note_is_that_of_every_panel(pixels, ids_hide):
    pred = hidden_patches(pixels, ids_hide)
    assert {panel.note for panel in panels_of(pixels, pred, ids_hide)} == {''}
    assert {panel.note for panel in panels_of(pixels, pred, ids_hide, note='x')} == {'x'}


def test_prediction_lands_in_its_own_patch():
    pixels = torch.zeros(1, 1, 8, 12, dtype=torch.uint8)
    ids = torch.tensor([[4, 1]])
    pred = torch.stack([torch.full((16,), 1.0), torch.arange(16) / 16])[None]
    (panel,) = panels_of(pixels, pred, ids)
    assert np.all(panel.reconstruction[4:, 4:8] == 174)  # 1.0 * 96 + 78
    expected = np.round(np.arange(16).reshape(4, 4) / 16 * 96 + 78)
    np.testing.assert_array_equal(panel.reconstruction[:4, 4:8], expected)


def test_two_channels_cannot_be_shown():
    pixels = torch.zeros(1, 2, 8, 12)
    output = {'pred': torch.zeros(1, 3, 32), 'ids_hide': torch.tensor([[0, 1, 2]])}
    with pytest.raises(ValueError, match=r'1 or 3 channels .* 2'):
        reconstruction_panels(
            pixels,
            output,
            patch_size=P,
            mean=torch.zeros(2),
            std=torch.ones(2),
        )


def test_predictions_that_are_no_pixels_are_refused(pixels, ids_hide):
    with pytest.raises(ValueError, match='predictions of 7 values'):
        panels_of(pixels, torch.zeros(2, 4, 7), ids_hide)


@pytest.mark.parametrize('channels', [1, 3])
def test_pixels(channels):
    image = torch.randint(0, 256, (channels, 4, 6), dtype=torch.uint8)
    pixels = as_pixels(image)
    assert pixels.shape == ((4, 6) if channels == 1 else (4, 6, 3))
    np.testing.assert_array_equal(pixels.reshape(4, 6, -1), image.permute(1, 2, 0))


def test_pixels_of_other_channels():
    with pytest.raises(ValueError, match='images of 1 or 3 channels can be shown, not of 4'):
        as_pixels(torch.zeros(4, 2, 2, dtype=torch.uint8))


def test_of_16_bits_the_upper_8_are_shown():
    image = torch.from_numpy(np.array([[[255, 256, 65535]]], np.uint16))
    assert as_pixels(image).dtype == np.uint8
    assert as_pixels(image).tolist() == [[0, 1, 255]]
    assert as_pixels(torch.from_numpy(np.zeros((3, 2, 4), np.uint16))).shape == (2, 4, 3)
