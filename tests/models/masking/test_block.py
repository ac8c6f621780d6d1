import pytest
import torch
from skimage.measure import label

from mae.models.masking import BlockMasker, RandomMasker
from mae.utils.hashing import sample_keys

KEYS = sample_keys(0, 0, torch.arange(64))


def borders(masker, grid=(14, 14)):
    """Mean number of neighbouring pairs of which one patch is hidden, one visible."""
    mask = masker(grid, KEYS).dense().reshape(-1, *grid)
    across = (mask[:, 1:] != mask[:, :-1]).sum((1, 2))
    along = (mask[:, :, 1:] != mask[:, :, :-1]).sum((1, 2))
    return (across + along).float().mean()


@pytest.mark.parametrize('ratio', [0.5, 0.75])
def test_hidden_patches_hang_together(ratio):
    assert borders(BlockMasker(ratio)) < borders(RandomMasker(ratio)) / 2
    masks = BlockMasker(ratio)((14, 14), KEYS).dense().reshape(-1, 14, 14).numpy()
    parts = [label(mask, connectivity=1).max() for mask in masks]
    assert sum(parts) / len(parts) < 4  # random masks fall into a dozen and more


@pytest.mark.parametrize('grid', [(14, 14), (2, 3), (16, 8), (1, 12)])
def test_exact_share_in_every_image(grid):
    mask = BlockMasker(0.5)(grid, KEYS)
    assert mask.dense().sum(1).eq(grid[0] * grid[1] // 2).all()


def test_images_differ():
    masks = BlockMasker(0.5)((14, 14), KEYS).dense()
    assert len(masks.unique(dim=0)) == len(KEYS)
