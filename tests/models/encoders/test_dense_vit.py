"""Maps of features: equal to the plain encoder where nothing is switched on."""

import pytest
import torch

from mae.models.encoders import DenseViTEncoder, ViTEncoder

ARCH = {'embed_dim': 16, 'depth': 4, 'num_heads': 2}


def build(kind=DenseViTEncoder, **options):
    torch.manual_seed(0)
    encoder = kind(ARCH, (16, 24), patch_size=8, **options).eval()
    encoder.init_weights()
    return encoder


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'options',
    [{}, {'rel_pos': 'table'}, {'layer_scale': 1}, {'with_cls_token': False, 'rel_pos': 'axes'}],
)
def test_at_the_start_it_is_the_plain_encoder(images, options):
    """Weights of `ViTEncoder` fit, and new positions and factors change nothing yet."""
    plain = build(ViTEncoder, with_cls_token=options.get('with_cls_token', True))
    dense = build(**options)
    left = dense.load_state_dict(plain.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all('rel_pos' in name or 'gamma' in name for name in left.missing_keys)
    assert torch.allclose(dense(images), plain(images), atol=1e-6)
    tokens = plain(images)[:, plain.num_prefix_tokens :]
    (found,) = dense.maps(images, [3])
    assert torch.allclose(found.flatten(2).transpose(1, 2), tokens, atol=1e-6)


def test_taps_are_the_blocks_outputs(images):
    plain, dense = build(ViTEncoder), build()
    dense.load_state_dict(plain.state_dict())
    seen = []
    for block in plain.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    plain(images)
    for found, tokens in zip(dense.maps(images, [0, 2]), (seen[0], seen[2]), strict=True):
        assert found.shape == (2, 16, 2, 3)
        assert torch.allclose(found.flatten(2).transpose(1, 2), tokens[:, 1:], atol=1e-6)


def test_images_of_other_sizes_take_resampled_positions(images):
    plain, dense = build(ViTEncoder), build()
    dense.load_state_dict(plain.state_dict())
    small = images[..., :8, :16]
    plain.set_img_size((8, 16))
    (found,) = dense.maps(small, [3])
    assert torch.allclose(found.flatten(2).transpose(1, 2), plain(small)[:, 1:], atol=1e-6)


def test_windows_keep_what_lies_apart_apart(images):
    """A pixel changes only its own window, until a global block."""
    options = {'with_cls_token': False, 'window_size': 1, 'global_blocks': [3]}
    dense = build(**options)
    other = images.clone()
    other[..., :8, :8] += 1
    before, after = dense.maps(images, [2, 3]), dense.maps(other, [2, 3])
    apart = (before[0] != after[0]).any(1)
    assert apart[:, 0, 0].all()
    assert apart.sum() == 2
    assert (before[1] != after[1]).any(1).all()


def test_windows_that_do_not_divide_the_grid(images):
    dense = build(with_cls_token=False, window_size=2, rel_pos='axes')
    (found,) = dense.maps(images, [3])
    assert found.shape == (2, 16, 2, 3)
    assert found.isfinite().all()


def test_shared_tables_are_one_parameter():
    options = {'with_cls_token': False, 'window_size': 2, 'global_blocks': [1, 3]}
    dense = build(**options, rel_pos='table', share_rel_pos=True)
    assert dense.blocks[0].rel_pos is dense.blocks[2].rel_pos
    assert dense.blocks[1].rel_pos is dense.blocks[3].rel_pos
    names = [name for name, _ in dense.named_parameters() if 'rel_pos' in name]
    assert names == ['blocks.0.rel_pos.table', 'blocks.1.rel_pos.table']


def test_recomputing_changes_no_gradient(images):
    grads = []
    for recompute in ('nothing', 'blocks', 'cheap'):
        dense = build(rel_pos='table', recompute=recompute).train()
        dense.maps(images, [1, 3])[1].square().sum().backward()
        grads.append([p.grad for p in dense.parameters() if p.grad is not None])
    for other in grads[1:]:
        for a, b in zip(grads[0], other, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'window_size': 2}, 'with_cls_token'),
        ({'rel_pos': 'axes'}, 'with_cls_token'),
        ({'rel_pos': 'swin'}, 'rel_pos'),
        ({'window_size': 2, 'global_blocks': [4], 'with_cls_token': False}, 'global_blocks'),
        ({'load_pos': False, 'trainable_pos': True}, 'trainable_pos'),
        ({'pos_img_size': 17}, 'not divisible'),
    ],
)
def test_what_does_not_go_together_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        build(**options)


def test_hidden_patches_are_refused(images):
    dense = build()
    patches = dense.patchify(images)
    with pytest.raises(ValueError, match='ViTEncoder'):
        dense.encode(patches, torch.zeros(2, 1, dtype=torch.int64))


def test_the_residual_in_bfloat16_is_that_of_the_plain_encoder(images):
    plain, dense = build(ViTEncoder, bf16_residual=True), build(bf16_residual=True)
    dense.load_state_dict(plain.state_dict())
    with torch.autocast('cpu', torch.bfloat16):
        assert dense(images).dtype == plain(images).dtype
        assert torch.equal(dense(images), plain(images))


def test_positions_of_another_grid_are_resampled_at_each_use(images):
    """ViTDet's: bicubic, not antialiased; and they are what is learned."""
    dense = build(pos_img_size=(16, 16), trainable_pos=True, pos_antialias=False)
    assert dense.pos_embed.shape == (1, 1 + 4, 16)
    plain = build(ViTEncoder, pos_antialias=False)
    plain.load_state_dict({**dense.state_dict(), 'pos_embed': plain.fit_pos_embed(dense.pos_embed)})
    assert torch.allclose(dense(images), plain(images), atol=1e-6)
    dense(images).sum().backward()
    assert dense.pos_embed.grad is not None
    grid = dense.pos_embed[:, 1:].detach().unflatten(1, (2, 2)).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(grid, (2, 3), mode='bicubic')
    assert torch.allclose(plain.pos_embed[:, 1:].unflatten(1, (2, 3)).permute(0, 3, 1, 2), wanted)


def test_positions_without_a_cls_token_take_those_of_one():
    dense = build(with_cls_token=False)
    plain = build(ViTEncoder)
    assert torch.equal(dense.fit_pos_embed(plain.pos_embed), plain.pos_embed[:, 1:])
    assert torch.equal(dense.fit_pos_embed(plain.pos_embed, (2, 3)), plain.pos_embed[:, 1:])
    square = torch.randn(1, 17, 16)
    assert torch.equal(dense.fit_pos_embed(square), dense.fit_pos_embed(square[:, 1:]))


def test_positions_stay_sine_cosine():
    dense = build(load_pos=False)
    assert torch.equal(dense.fit_pos_embed(torch.randn(1, 17, 16)), dense.pos_embed)
    assert torch.equal(dense.pos_embed, build(ViTEncoder).pos_embed)
    assert not dense.pos_embed.requires_grad
