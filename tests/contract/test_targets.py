"""A target: of the shape of the patches, each patch by itself."""

import torch


def test_each_patch_by_itself(target_type):
    patches = torch.rand(2, 5, 12, dtype=torch.float64)
    before = patches.clone()
    out = target_type()(patches)
    assert out.shape[:2] == patches.shape[:2]
    assert out.dtype == patches.dtype
    assert out.isfinite().all()
    assert torch.equal(patches, before)
    order = torch.tensor([3, 1])
    assert torch.equal(target_type()(patches[:, order]), out[:, order])


def test_flat_patches_do_no_harm(target_type):
    assert target_type()(torch.full((1, 2, 12), 3.0)).isfinite().all()


def test_nothing_to_learn(target_type):
    assert not list(target_type().parameters())
