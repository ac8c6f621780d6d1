import pytest
import torch

from mae.models.encoders import ViTEncoder
from mae.models.layers.patches import patchify

ARCH = dict(embed_dim=16, depth=3, num_heads=2)


def encoder(**options):
    model = ViTEncoder(ARCH, (8, 12), **{'patch_size': 4, 'in_channels': 5, **options})
    model.init_weights()
    return model


@pytest.mark.parametrize('with_cls_token', [True, False])
def test_shapes_and_pooling(with_cls_token):
    model = encoder(with_cls_token=with_cls_token).eval()
    images = torch.randn(2, 5, 8, 12)
    tokens = model(images)
    assert tokens.shape == (2, 6 + with_cls_token, 16)
    assert torch.equal(model.extract_features(images), tokens[:, int(with_cls_token) :].mean(1))
    assert torch.equal(model.extract_features(images, 'tokens'), tokens)
    assert model.grid_size == (2, 3)


def test_keeping_all_patches_is_seeing_the_image():
    model = encoder().double()
    images = torch.randn(2, 5, 8, 12, dtype=torch.float64)
    order = torch.stack([torch.randperm(6) for _ in range(2)])
    kept = model.encode(model.patchify(images), order)
    whole = model(images)
    torch.testing.assert_close(kept[:, :1], whole[:, :1])
    expected = whole[:, 1:].gather(1, order[..., None].expand(-1, -1, 16))
    torch.testing.assert_close(kept[:, 1:], expected)


def test_hidden_patches_are_not_seen():
    model = encoder()
    patches = patchify(torch.randn(2, 5, 8, 12), 4)
    ids_keep = torch.tensor([[0, 4], [5, 1]])
    before = model.encode(patches, ids_keep)
    changed = torch.full_like(patches, torch.nan)
    changed.scatter_(
        1,
        ids_keep[..., None].expand(-1, -1, 80),
        patches.gather(1, ids_keep[..., None].expand(-1, -1, 80)),
    )
    assert torch.equal(model.encode(changed, ids_keep), before)


@pytest.mark.parametrize('what', ['cheap', 'blocks'])
def test_recomputing_activations_changes_nothing(what):
    images = torch.randn(2, 5, 8, 12)
    grads = []
    for recompute in ('nothing', what):
        torch.manual_seed(0)
        model = encoder(recompute=recompute, drop_path_rate=0.5).train()
        torch.manual_seed(1)
        model(images).square().sum().backward()
        grads.append([p.grad for p in model.parameters() if p.requires_grad])
    for plain, recomputed in zip(*grads, strict=True):
        assert torch.equal(plain, recomputed)


def test_drop_path_grows_linearly():
    rates = [block.drop_path.rate for block in encoder(drop_path_rate=0.2).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])


def test_positions_are_frozen_unless_asked():
    assert not encoder().pos_embed.requires_grad
    assert encoder(trainable_pos=True).pos_embed.requires_grad


def test_layers_for_decay():
    model = encoder()
    depths = {name: model.get_layer_depth(name) for name, _ in model.named_parameters()}
    assert {last for _, last in depths.values()} == {4}
    assert {name.split('.')[0] for name, (layer, _) in depths.items() if layer == 0} == {
        *('cls_token', 'pos_embed', 'patch_embed')
    }
    for name, (layer, _) in depths.items():
        if name.startswith('blocks.'):
            assert layer == int(name.split('.')[1]) + 1
        if name.startswith('norm.'):
            assert layer == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='giant'), r"^encoder.arch must .* tiny, small, base, .*'giant'$"),
        (dict(arch=dict(embed_dim=8, depth=1)), r'^encoder.arch as a dict needs .*embed_dim.*$'),
        (dict(arch=dict(ARCH, mlp=4)), r'^encoder.arch as a dict needs .*embed_dim.*$'),
        (
            dict(img_size=(225, 224)),
            r'^encoder.img_size=225x224 is not divisible by encoder.patch_size=16$',
        ),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        ViTEncoder(**options)


@pytest.mark.parametrize('shape', [(5, 12, 8), (3, 8, 12), (5, 8, 16)])
def test_wrong_images(shape):
    with pytest.raises(ValueError, match=r'^the encoder was built for [^\n]* \(5, 8, 12\)'):
        encoder()(torch.zeros(1, *shape))
