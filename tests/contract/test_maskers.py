"""A masker: exactly K visible, a function of each image's key alone, noise wins over keys."""

import pytest
import torch

from mae.models.masking.base import Masker
from mae.utils.hashing import sample_keys

GRIDS = [(2, 3), (14, 14), (1, 8)]


def keys_of(count, epoch=0):
    return sample_keys(0, epoch, torch.arange(count))


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('ratio', [0.5, 0.6, 0.75])
def test_partition(masker_type, ratio, grid):
    L = grid[0] * grid[1]
    mask = masker_type(mask_ratio=ratio)(grid, keys_of(9))
    K = int(L * (1 - ratio))
    assert issubclass(masker_type, Masker)
    assert mask.ids_keep.shape == (9, K)
    assert mask.ids_hide.shape == (9, L - K)
    assert mask.ids_keep.dtype == mask.ids_hide.dtype == torch.int64
    both = torch.cat([mask.ids_keep, mask.ids_hide], 1).sort(1).values
    assert torch.equal(both, torch.arange(L).expand(9, -1))
    dense = mask.dense()
    assert dense.dtype == torch.float32
    assert torch.equal(dense.gather(1, mask.ids_hide), torch.ones(9, L - K))
    assert torch.equal(dense.gather(1, mask.ids_keep), torch.zeros(9, K))


@pytest.mark.parametrize('grid', GRIDS)
def test_function_of_the_key_alone(masker_type, grid):
    masker, keys = masker_type(mask_ratio=0.5), keys_of(12)
    whole = masker(grid, keys)
    torch.manual_seed(1)  # another random state changes nothing
    order = torch.randperm(12)[:5]
    part = masker_type(mask_ratio=0.5)(grid, keys[order])
    assert torch.equal(part.ids_keep, whole.ids_keep[order])
    assert torch.equal(part.ids_hide, whole.ids_hide[order])


def test_leaves_the_random_state_alone(masker_type):
    state = torch.get_rng_state()
    masker_type(mask_ratio=0.5)((4, 4), keys_of(3))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_ties_to_be_broken_by_the_device(masker_type):
    grid = (14, 14)
    scores = masker_type(mask_ratio=0.5).score(grid, keys_of(16))
    assert scores.shape == (16, 196)
    assert all(len(row.unique()) == 196 for row in scores)


@pytest.mark.parametrize('grid', GRIDS)
def test_noise_wins(masker_type, grid):
    L = grid[0] * grid[1]
    noise = torch.rand(5, L)
    mask = masker_type(mask_ratio=0.5)(grid, keys_of(5), noise)
    for row, keep, hide in zip(noise, mask.ids_keep, mask.ids_hide, strict=True):
        ascending = sorted(range(L), key=row.tolist().__getitem__)
        assert keep.tolist() + hide.tolist() == ascending


@pytest.mark.parametrize('grid', GRIDS)
def test_predicts_a_share_of_all_patches_in_training(masker_type, grid):
    L, keys = grid[0] * grid[1], keys_of(9)
    whole = masker_type(mask_ratio=0.5)(grid, keys)
    assert torch.equal(whole.ids_predict, whole.ids_hide)
    masker = masker_type(mask_ratio=0.5, predict_ratio=0.25)
    mask = masker(grid, keys)
    assert mask.ids_predict.shape == (9, round(L * 0.25))
    assert torch.equal(mask.ids_predict, mask.ids_hide[:, : mask.num_predict])
    # What is hidden, and all that is said of it, stays.
    assert torch.equal(mask.ids_keep, whole.ids_keep)
    assert torch.equal(mask.ids_hide.sort(1).values, whole.ids_hide.sort(1).values)
    assert torch.equal(mask.dense(), whole.dense())
    alone = masker(grid, keys[4:5])
    assert torch.equal(alone.ids_predict, mask.ids_predict[4:5])  # a function of the key
    evaluated = masker.eval()(grid, keys)
    assert torch.equal(evaluated.ids_predict, whole.ids_hide)


def test_every_hidden_patch_is_as_likely_to_be_predicted(masker_type):
    grid, keys = (4, 4), keys_of(4000)
    mask = masker_type(mask_ratio=0.5, predict_ratio=0.25)(grid, keys)
    predicted = torch.zeros(4000, 16).scatter_(1, mask.ids_predict, 1.0).sum(0)
    hidden = mask.dense().sum(0)
    share = (predicted / hidden)[hidden > 100]
    assert (share - 0.5).abs().max() < 0.06  # 5 deviations of the mean of 2000 are .056


@pytest.mark.parametrize('ratio', [0.0, 0.51, 25])
def test_share_to_predict_out_of_range(masker_type, ratio):
    with pytest.raises(ValueError, match=r'^masker\.predict_ratio [^\n]* not [^\n]*$'):
        masker_type(mask_ratio=0.5, predict_ratio=ratio)


@pytest.mark.parametrize('ratio', [0.0, 1.0, 75])
def test_ratio_out_of_range(masker_type, ratio):
    with pytest.raises(ValueError, match=r'^masker\.mask_ratio [^\n]*$'):
        masker_type(mask_ratio=ratio)


def test_nothing_left_to_see(masker_type):
    with pytest.raises(ValueError, match=r'^masker\.mask_ratio=0\.9 leaves 0 of 6 [^\n]*$'):
        masker_type(mask_ratio=0.9)((2, 3), keys_of(2))


def test_nothing_to_learn(masker_type):
    assert not masker_type(mask_ratio=0.5).state_dict()
