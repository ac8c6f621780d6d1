import torch

from mae.models.masking import RandomMasker
from mae.utils.hashing import sample_keys


def test_every_patch_is_as_likely_and_pairs_are_independent():
    """Chi-square over single patches and over pairs, at six deviations above its mean."""
    images, L = 20000, 12
    keys = sample_keys(0, 3, torch.arange(images))
    kept = 1 - RandomMasker(0.75)((3, 4), keys).dense().double()  # B,L with 3 of 12 kept
    chance = 3 / 12
    expected = images * chance
    chi2 = ((kept.sum(0) - expected) ** 2).sum() / (expected * (1 - chance)) * (L - 1) / L
    assert chi2 < (L - 1) + 6 * (2 * (L - 1)) ** 0.5

    pairs = (kept.T @ kept)[torch.triu(torch.ones(L, L), 1).bool()]
    chance = 3 * 2 / (12 * 11)
    chi2 = ((pairs - images * chance) ** 2).sum() / (images * chance)
    assert chi2 < 66 + 6 * (2 * 66) ** 0.5


def test_the_order_within_is_uniform_too():
    images = 6000
    keys = sample_keys(1, 0, torch.arange(images))
    order = RandomMasker(0.5)((1, 3), keys)
    ids = torch.cat([order.ids_keep, order.ids_hide], 1)
    counts = (ids[:, 0] * 3 + ids[:, 1]).bincount(minlength=9)
    counts = counts[counts > 0].double()
    assert len(counts) == 6  # all permutations of 3 patches
    assert ((counts - 1000) ** 2).sum() / 1000 < 5 + 6 * 10**0.5


def test_epochs_and_seeds_give_other_masks():
    ids = torch.arange(64)
    masks = [
        RandomMasker()((4, 4), sample_keys(seed, epoch, ids)).dense()
        for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        # A patch is hidden in both with chance 9/16, visible in both with 1/16.
        agree = (masks[a] == masks[b]).float().mean()
        assert abs(agree - 10 / 16) < 0.08
