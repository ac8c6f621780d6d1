"""A target: as wide as it says, of the patches asked for, a function of the image alone."""

import pytest
import timm
import torch

from mae.models.algorithms.parts import build_part, target_dim_of
from mae.models.layers.patches import patchify
from mae.models.masking import RandomMasker

FACTS = {
    'patch_dim': 192,
    'patch_size': 8,
    'in_channels': 3,
    'grid_size': (2, 3),
    'img_size': (16, 24),
    'encoder_dim': 32,
    'num_prefix_tokens': 1,
    'image_mean': torch.full((3, 1, 1), 120.0),
    'image_std': torch.full((3, 1, 1), 60.0),
}
TEACHER = dict(img_size=(16, 24), patch_size=8, embed_dim=24, depth=1, num_heads=2)


@pytest.fixture
def target(target_type, tmp_path):
    options = {'type': target_type.__name__}
    if target_type.__name__ == 'FeatureTarget':
        options |= dict(teacher='vit_tiny_patch16_224', checkpoint=str(tmp_path / 'teacher.pth'))
        options |= dict(options={**TEACHER, 'dynamic_img_size': True})
        torch.save(
            timm.create_model(options['teacher'], **TEACHER).state_dict(), tmp_path / 'teacher.pth'
        )
    return build_part(options, FACTS)


def call(target, images, noise=None):
    patches = patchify(images, FACTS['patch_size'])
    grid = images.shape[-2] // 8, images.shape[-1] // 8
    mask = RandomMasker(0.5)(grid, torch.arange(len(images)), noise)
    return target(images, patches, mask)


def test_of_the_width_it_says(target):
    images = torch.randn(2, 3, 16, 24)
    before = images.clone()
    out = call(target, images)
    assert out.shape == (2, 3, target_dim_of(target))
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert not out.requires_grad
    assert torch.equal(images, before)


def test_the_patches_asked_for_in_their_order(target):
    images = torch.randn(1, 3, 16, 24)
    noise = torch.tensor([[0.3, 0.9, 0.1, 0.5, 0.2, 0.7]])  # hides 3, 5, 1
    out = call(target, images, noise)
    other = call(target, images, torch.tensor([[0.3, 0.5, 0.1, 0.7, 0.2, 0.9]]))  # 1, 3, 5
    torch.testing.assert_close(other, out[:, [2, 0, 1]])
    assert not torch.allclose(out[:, 0], out[:, 1])


def test_images_do_not_mix(target):
    images, noise = torch.randn(2, 3, 16, 24), torch.rand(2, 6)
    out = call(target, images, noise)
    torch.testing.assert_close(call(target, images[1:], noise[1:]), out[1:])


def test_flat_images_do_no_harm(target):
    assert call(target, torch.full((1, 3, 16, 24), 3.0)).isfinite().all()


def test_images_of_another_size(target):
    target.set_img_size((8, 24))
    out = call(target, torch.randn(2, 3, 8, 24))
    assert out.shape == (2, 2, target.target_dim)


def test_nothing_to_learn_and_nothing_to_save(target):
    call(target, torch.randn(1, 3, 16, 24))
    assert not list(target.parameters())
    assert not target.state_dict()
