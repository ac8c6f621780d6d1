"""An encoder: what algorithms, optimizer and evaluation ask of it."""

import pytest
import torch

from mae.models.encoders import DenseViTEncoder

SIZE, PATCH, C, D = (8, 12), 4, 5, 16


@pytest.fixture(params=[True, False], ids=['cls', 'no-cls'])
def model(encoder_type, request):
    arch = dict(embed_dim=D, depth=2, num_heads=2)
    model = encoder_type(arch, SIZE, patch_size=PATCH, in_channels=C, with_cls_token=request.param)
    for param in model.parameters():
        param.data.fill_(torch.nan)
    model.init_weights()
    return model.double().eval()


def sees_a_part(model):
    """Whether patches may be hidden, as in pre-training."""
    return not isinstance(model, DenseViTEncoder)


@pytest.fixture
def images():
    return torch.randn(2, C, *SIZE, dtype=torch.float64)


def test_facts(model):
    assert model.embed_dim == D
    assert model.grid_size == (2, 3)
    assert model.patch_size == PATCH
    assert model.in_channels == C
    assert model.num_prefix_tokens in (0, 1)
    assert model.depth == 2


def test_tokens(model, images):
    prefix = model.num_prefix_tokens
    patches = model.patchify(images)
    assert patches.shape == (2, 6, PATCH * PATCH * C)
    tokens = model(images)
    assert tokens.shape == (2, prefix + 6, D)
    assert tokens.isfinite().all()
    assert torch.equal(tokens, model.encode(patches))
    assert torch.equal(model.extract_features(images), tokens[:, prefix:].mean(1))
    assert torch.equal(model.extract_features(images, 'tokens'), tokens)
    if sees_a_part(model):
        assert model.encode(patches, torch.tensor([[0], [5]])).shape == (2, prefix + 1, D)


def test_hidden_patches_are_not_seen(model, images):
    patches, ids = model.patchify(images), torch.tensor([[3, 1], [0, 5]])
    if not sees_a_part(model):
        with pytest.raises(ValueError, match='pre-train with ViTEncoder'):
            model.encode(patches, ids)
        return
    index = ids[..., None].expand(-1, -1, patches.shape[-1])
    blind = torch.full_like(patches, torch.nan).scatter(1, index, patches.gather(1, index))
    assert torch.equal(model.encode(blind, ids), model.encode(patches, ids))


def test_images_do_not_mix(model, images):
    torch.testing.assert_close(model(images[:1]), model(images)[:1])


def test_layers_for_decay(model):
    for name, _ in model.named_parameters():
        layer, last = model.get_layer_depth(name)
        assert 0 <= layer <= last == model.depth + 1
        if name.startswith('blocks.'):
            assert layer == int(name.split('.')[1]) + 1


def test_tokens_without_decay_have_more_than_one_dimension(model):
    params = dict(model.named_parameters())
    named = model.no_weight_decay() & set(params)
    assert named
    assert all(params[name].ndim > 1 for name in named)


def test_every_parameter_learns(model, images):
    model(images).square().sum().backward()
    for name, param in model.named_parameters():
        assert param.requires_grad == (param.grad is not None), name


def test_wrong_images_in_one_line(model):
    with pytest.raises(ValueError, match=r'^[^\n]*\(5, 8, 12\)[^\n]*\(5, 8, 16\)[^\n]*$'):
        model(torch.zeros(1, C, 8, 16, dtype=torch.float64))


def test_image_that_is_no_whole_number_of_patches(encoder_type):
    with pytest.raises(ValueError, match=r'^encoder\.img_size=30x32 is not divisible by [^\n]*16$'):
        encoder_type('tiny', (30, 32), patch_size=16)
