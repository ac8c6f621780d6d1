"""Attention maps and colours of patch tokens, by what they compute."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from sklearn.decomposition import PCA
from torch import nn

from mae.apis import draw_attention, draw_pca, get_model
from mae.apis.token_pictures import (
    as_colours,
    attention_of,
    feature_extractor,
    principal_components,
    read_all,
    token_map,
)
from mae.apis.zoo import LoadedModel
from mae.utils.errors import DataError

ARCH = {'embed_dim': 16, 'depth': 3, 'num_heads': 2}
CONFIG = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'


@pytest.fixture(scope='module')
def model():
    """Of a grid of 2 x 3, with weights far from those of the start, where attention is even."""
    torch.manual_seed(1)
    built = get_model(CONFIG, encoder=dict(arch=ARCH, img_size=(8, 12), patch_size=4))
    with torch.no_grad():
        for block in built.encoder.blocks:
            block.attn.qkv.weight.mul_(8)
    return built


def test_files_of_16_bits(model, tmp_path):
    """The config that comes with the weights says how many bits are read, for encoder and sheet."""
    path = tmp_path / 'dark.png'
    dark = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint16)
    Image.fromarray(dark).save(path)
    decode = dict(type='DecodeImage', channels=1, bits=16)
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[decode]))))
    loaded = LoadedModel(model, config)
    _, pixels = read_all(feature_extractor(loaded), path)
    assert pixels[0, 0].tolist() == dark.tolist()
    _, pixels = read_all(feature_extractor(model), path)
    assert not pixels.any()
    for draw in (draw_attention, draw_pca):
        assert draw(loaded, path).width > 300


@pytest.mark.parametrize('block', [3, -4, 1.5, 'last'])
def test_blocks_that_are_not_there(model, images, block):
    with pytest.raises(ValueError, match='the encoder has blocks 0 to 2, and no block'):
        draw_attention(model, images, block=block)


def test_what_is_no_model(images):
    for none in (nn.ReLU(), nn.Linear(2, 2)):
        with pytest.raises(ValueError, match='is no model of this toolbox'):
            draw_pca(none, images)


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 1, 8, 12), dtype=torch.uint8)


def test_weights_are_those_that_the_model_uses(model, images):
    """With them and the layer's own values and projection comes the layer's own output."""
    seen = []
    hooks = [
        block.attn.register_forward_hook(lambda layer, x, out: seen.append((layer, x[0], out)))
        for block in model.encoder.blocks
    ]
    weights = attention_of(model, images, 2)
    for hook in hooks:
        hook.remove()
    assert len(weights) == len(seen) == 3
    for found, (layer, x, out) in zip(weights, seen, strict=True):
        assert found.shape == (2, 2, 7, 7)
        torch.testing.assert_close(found.sum(-1), torch.ones(2, 2, 7))
        assert found.std() > 0.01  # not all even
        values = layer.qkv(x)[..., 32:].unflatten(-1, (2, 8)).transpose(1, 2)
        mixed = layer.proj((found @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(mixed, out, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was(model, images):
    inputs = model.data_preprocessor({'inputs': images}, False)['inputs']
    with torch.inference_mode():
        before = model.extract_features(inputs)
        attention_of(model, images, 0)
        assert torch.equal(model.extract_features(inputs), before)
    assert not any(block.attn._forward_pre_hooks for block in model.encoder.blocks)


def test_a_map_is_the_row_of_the_class_token(model):
    rows = torch.arange(49.0).view(1, 7, 7)
    assert token_map(rows, model.encoder)[0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_without_a_class_token_patches_are_averaged(images):
    model = get_model(
        CONFIG, encoder=dict(arch=ARCH, img_size=(8, 12), patch_size=4, with_cls_token=False)
    )
    (weights,) = attention_of(model, images, 0)
    found = token_map(weights.mean(1), model.encoder)
    torch.testing.assert_close(found.flatten(1), weights.mean((1, 2)))


def test_attention_sheet(model, images):
    plain = draw_attention(model, images)
    assert plain.width == 3 * 168 + 8
    assert draw_attention(model, images, block=0, heads=True).width == 5 * 168 + 8


@pytest.mark.parametrize('block', [3, -4])
def test_no_such_block(model, images, block):
    with pytest.raises(ValueError, match=rf'blocks 0 to 2, and no block {block}$'):
        draw_attention(model, images, block=block)


def test_windows_have_no_maps(images):
    model = get_model(
        'vit-mini-p4_mask-rcnn-single-scale-1xb4-coslr-3e_digit-scenes-24-1000img',
        encoder=dict(window_size=2, with_cls_token=False),
    )
    with pytest.raises(ValueError, match='block 0 attends in windows or with relative positions'):
        draw_attention(model, torch.zeros(1, 24, 24, dtype=torch.uint8))


def test_images_that_are_none(model, tmp_path):
    (tmp_path / 'a.png').write_text('no image')
    for draw in (draw_attention, draw_pca):
        with pytest.raises(DataError, match=r'a\.png'):
            draw(model, str(tmp_path / 'a.png'))


def test_too_many_images_and_no_model(model):
    with pytest.raises(DataError, match='65 images are too many for one picture: give at most 64'):
        draw_pca(model, torch.zeros(65, 1, 8, 12, dtype=torch.uint8))
    with pytest.raises(ValueError, match='give a model, from get_model or init_model, not a str'):
        draw_pca(CONFIG, torch.zeros(8, 12, dtype=torch.uint8))


def test_components_are_those_of_sklearn():
    """Up to their signs, by another solver than ours."""
    tokens = torch.randn(3, 6, 10) * torch.arange(1.0, 11)
    found = principal_components(tokens).reshape(18, 3)
    expected = PCA(3, svd_solver='full').fit_transform(tokens.double().reshape(18, 10).numpy())
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, rtol=1e-9, atol=1e-9)


def test_colours_span_the_middle_98_percent():
    values = np.stack([np.arange(101.0), -np.arange(101.0), np.zeros(101)], -1)
    colours = as_colours(values)
    assert colours[:, 0].tolist() == [round(255 * min(max(n - 1, 0) / 98, 1)) for n in range(101)]
    assert colours[:, 1].tolist() == colours[::-1, 0].tolist()
    assert not colours[:, 2].any()


def test_pca_sheet_shows_the_patches(model, images):
    sheet = draw_pca(model, images)
    assert sheet.width == 2 * 168 + 8
    inputs = model.data_preprocessor({'inputs': images}, False)['inputs']
    with torch.inference_mode():
        tokens = model.extract_features(inputs, 'tokens')[:, 1:]
    first = as_colours(principal_components(tokens))[0, 0]
    assert sheet.getpixel((8 + 168 + 10, 8 + 16 + 160 // 2 - 30)) == tuple(first.tolist())


def test_too_few_patches_for_components():
    with pytest.raises(ValueError, match='here are 3 of width 10'):
        principal_components(torch.randn(1, 3, 10))


def test_without_scikit_learn(model, images, monkeypatch):
    monkeypatch.setattr('mae.apis.token_pictures.find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'needs scikit-learn, .*: pip install scikit-learn'):
        draw_pca(model, images)
