import math

import pytest
import torch
from skimage.measure import label
from torch.utils._python_dispatch import TorchDispatchMode

from mae.models.masking import BlockMasker, RandomMasker, block
from mae.models.masking.block import exp_table, reproducible_exp
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


@pytest.mark.parametrize('largest', [0.01, 1.2, 7.0])
def test_the_exponential_is_exact_to_a_few_units_of_the_last_place(largest):
    x = torch.linspace(-largest, largest, 10001, dtype=torch.float64)
    exact = torch.tensor([math.exp(value) for value in x.tolist()], dtype=torch.float64)
    assert (reproducible_exp(x, exp_table(largest)) / exact - 1).abs().max() < 4 * 2**-52


def test_rectangles_are_those_of_the_librarys_exponential(monkeypatch):
    masker, keys = BlockMasker(0.5), sample_keys(0, 0, torch.arange(3000))
    found = masker._rectangles((14, 14), keys)
    monkeypatch.setattr(block, 'reproducible_exp', lambda x, table: x.exp())
    for here, there in zip(found, masker._rectangles((14, 14), keys), strict=True):
        assert torch.equal(here, there)


def test_another_type_of_weights_gives_the_same_masks():
    masker = BlockMasker(0.5)
    before = masker.score((14, 14), KEYS)
    assert torch.equal(masker.bfloat16().score((14, 14), KEYS), before)
    assert not masker.state_dict()


def test_nothing_is_computed_that_devices_round_differently():
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    names = set()
    with Seen():
        BlockMasker(0.5)((14, 14), KEYS)
    assert {'sqrt', 'round', 'index'} <= names
    assert not {'exp', 'exp2', 'log', 'pow', 'addcmul', 'lerp'} & names
