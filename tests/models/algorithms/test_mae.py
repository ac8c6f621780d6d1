import pytest
import torch

from mae.models.algorithms import MAE
from mae.models.layers.pos_embed import resample_pos_embed
from mae.registry import MODELS


def test_noise_decides_what_is_kept(build_mae):
    model = build_mae()
    noise = torch.tensor([[0.3, 0.9, 0.1, 0.5, 0.2, 0.7], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]])
    out = model.reconstruct(torch.randn(2, 5, 8, 12), noise)
    assert out['ids_keep'].tolist() == [[2, 4, 0], [5, 4, 3]]
    assert out['ids_hide'].tolist() == [[3, 5, 1], [2, 1, 0]]
    assert out['mask'].tolist() == [[0, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0]]
    assert out['pred'].shape == out['target'].shape == (2, 3, 80)
    torch.testing.assert_close(out['loss'], (out['pred'] - out['target']).square().mean())
    assert out['loss'].ndim == 0


def test_without_noise_the_masks_are_fixed(build_mae):
    model, images = build_mae(), torch.randn(3, 5, 8, 12)
    a, b = model.reconstruct(images), model.reconstruct(images)
    assert torch.equal(a['mask'], b['mask'])
    assert torch.equal(a['loss'], b['loss'])


def test_masks_do_not_depend_on_the_rest_of_the_batch(build_mae):
    model = build_mae().double()
    images, keys = torch.randn(4, 5, 8, 12, dtype=torch.float64), torch.arange(4) * 77
    whole = model(images, keys, mode='predict')[0]['reconstruction_loss']
    for row in range(4):
        alone = model(images[row : row + 1], keys[row : row + 1], mode='predict')
        torch.testing.assert_close(alone[0]['reconstruction_loss'], whole[row : row + 1])
    torch.testing.assert_close(model(images, keys)['loss'], whole.mean())


def test_what_a_model_learns_from(build_mae):
    """The loss depends on visible patches and, as a target, on hidden ones; both get no noise."""
    model = build_mae(norm_pix=False)
    images = torch.randn(1, 5, 8, 12, requires_grad=True)
    noise = torch.arange(6.0)[None]
    model.reconstruct(images, noise)['pred'].sum().backward()
    reached = images.grad.abs().sum(1)[0]  # 8,12: the first row of patches is visible
    assert (reached[:4] > 0).all()
    assert not reached[4:].any()


@pytest.mark.parametrize('masker', ['RandomMasker', 'BlockMasker', 'GridMasker'])
@pytest.mark.parametrize('with_cls_token', [True, False])
def test_every_masker_and_encoder(build_mae, masker, with_cls_token):
    model = build_mae(encoder=dict(with_cls_token=with_cls_token), masker=dict(type=masker))
    model.init_weights()
    model(torch.randn(2, 5, 8, 12), torch.arange(2))['loss'].backward()
    for name, param in model.named_parameters():
        # A key's bias aside, everything learns.
        assert param.requires_grad == (param.grad is not None), name
        assert not param.requires_grad or param.grad.abs().sum() > 0, name


def test_part_of_the_hidden_patches_is_predicted_in_training(build_mae):
    """With cross-attention the loss is that of the chosen patches, whatever else is asked for."""
    decoder = dict(type='CrossDecoder')
    model = build_mae(decoder=decoder, masker=dict(predict_ratio=1 / 3)).double()
    model.init_weights()
    images, keys = torch.randn(2, 5, 8, 12, dtype=torch.float64), torch.arange(2)
    loss, pred, target, mask = model.reconstruct_patches(images, keys)
    assert pred.shape == target.shape == (2, 2, 80)
    _, whole, _, evaluated = model.eval().reconstruct_patches(images, keys)
    assert whole.shape == (2, 3, 80)
    for row in range(2):
        places = [evaluated.ids_hide[row].tolist().index(i) for i in mask.ids_predict[row].tolist()]
        torch.testing.assert_close(whole[row, places], pred[row])
    torch.testing.assert_close(loss, (pred - target).square().mean((1, 2)))


@pytest.mark.parametrize('decoder', ['TransformerDecoder', 'CrossDecoder'])
def test_every_decoder_learns_with_part_of_the_patches(build_mae, decoder):
    model = build_mae(decoder=dict(type=decoder), masker=dict(predict_ratio=1 / 3))
    model.init_weights()
    model(torch.randn(2, 5, 8, 12), torch.arange(2))['loss'].backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_tokens_exempt_from_decay(build_mae):
    model = build_mae()
    names = {name for name, _ in model.named_parameters()}
    assert model.no_weight_decay() == {
        *('encoder.cls_token', 'encoder.pos_embed', 'decoder.mask_token')
    }
    assert model.no_weight_decay() <= names


@pytest.mark.parametrize(
    ('size', 'patch', 'millions'),
    [('base', 16, 111.9), ('large', 16, 329.5), ('huge', 14, 657.1)],
)
def test_parameters_of_the_published_models(size, patch, millions):
    """Encoder and decoder with their frozen positions, as recipes give them."""
    with torch.device('meta'):
        model = MAE(
            encoder=dict(type='ViTEncoder', arch=size, patch_size=patch),
            decoder=dict(type='TransformerDecoder'),
            masker=dict(type='RandomMasker'),
            target=dict(type='PixelTarget'),
            loss=dict(type='MaskedMSELoss'),
            preprocessor=dict(type='ImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
        )
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ('size', 'millions'),
    [('tiny', 5.5), ('small', 21.7), ('base', 85.8), ('large', 303.3), ('huge', 630.8)],
)
def test_parameters_of_the_encoders(size, millions):
    patch = 14 if size == 'huge' else 16
    with torch.device('meta'):
        model = MODELS.build(dict(type='ViTEncoder', arch=size, patch_size=patch))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


def test_a_ratio_that_hides_all_is_told_when_building(build_mae):
    with pytest.raises(ValueError, match=r'^masker.mask_ratio=0.9 leaves 0 of 6 patches visible'):
        build_mae(masker=dict(mask_ratio=0.9))


@pytest.mark.parametrize('ways', [(True, True), (False, False), (False, True)])
@pytest.mark.parametrize('decoder', ['TransformerDecoder', 'CrossDecoder'])
def test_a_smaller_size_is_a_smaller_model_with_resampled_positions(build_mae, decoder, ways):
    """From 2x3 patches to 1x2: the same weights, fitted, in a model built for that size."""
    options = dict(
        encoder=dict(pos_antialias=ways[0]), decoder=dict(type=decoder, pos_antialias=ways[1])
    )
    model = build_mae(**options).double()
    model.init_weights()
    twin = build_mae(**{**options, 'encoder': {**options['encoder'], 'img_size': (4, 8)}}).double()
    weights = model.state_dict()
    for part, way in zip(('encoder', 'decoder'), ways, strict=True):
        name = f'{part}.pos_embed'
        weights[name] = resample_pos_embed(weights[name], (1, 2), 1, (2, 3), antialias=way)
    twin.load_state_dict(weights)
    fitted = model.state_dict()
    twin.adapt_weights(fitted, (2, 3))
    assert all(torch.equal(value, weights[name]) for name, value in fitted.items())
    model.set_img_size((4, 8))
    images, keys = torch.randn(2, 5, 4, 8, dtype=torch.float64), torch.arange(2)
    torch.testing.assert_close(model(images, keys), twin(images, keys))
    model.init_weights()  # whatever the size, of the positions that the weights are for
    assert model.state_dict()['encoder.pos_embed'].shape == (1, 7, 16)
    with pytest.raises(ValueError, match=r'^images of 8x12 cannot be shrunk to 9$'):
        model.set_img_size(9)
    model.set_img_size(None)
    assert model.encoder.grid_size == model.decoder.grid_size == (2, 3)
