"""Models that do not predict pixels: what of them others can hold, and what is refused."""

import re

import pytest
import torch
from safetensors.torch import load_file

from mae.apis import convert, init_model, load_config
from mae.fault_tolerance.checkpoint import fit_weights
from mae.utils.errors import CheckpointError
from mae.zoo.formats import load_weights

DIGITS = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'


def built(target):
    return init_model(load_config(DIGITS, {'model.target': {'_delete_': True, **target}}))


def saved(model, path):
    """As a run saves it: with the config, from which facts come."""
    target = type(model.target).__name__
    model_config = load_config(DIGITS).model.to_dict()
    model_config['target'] = {'type': target}
    content = {'state_dict': model.state_dict(), 'meta': {'cfg': {'model': model_config}}}
    torch.save(content, path)
    return path


@pytest.fixture
def hog(tmp_path):
    return saved(built(dict(type='HOGTarget', cell_size=2)), tmp_path / 'hog.pth')


@pytest.mark.parametrize('to', ['transformers', 'fair', 'mmpretrain', 'lightly'])
def test_decoders_of_others_predict_pixels(hog, tmp_path, to):
    out = tmp_path / ('out' if to == 'transformers' else 'out.safetensors')
    message = r'^[^\n]*pixels only, [^\n]*36 values [^\n]*HOGTarget[^\n]*encoder_only\)$'
    with pytest.raises(CheckpointError, match=message):
        convert(hog, out, to)
    assert not out.exists()
    convert(hog, out, to, encoder_only=True)
    assert out.exists()


def test_a_width_that_happens_to_be_that_of_pixels(tmp_path):
    """Sixteen values of another kind, as 768 features of a ViT-B are for patches of 16 pixels."""
    model = built(dict(type='HOGTarget', num_bins=4, cell_size=2))
    assert model.target.target_dim == 16
    path = saved(model, tmp_path / 'hog.pth')
    with pytest.raises(CheckpointError, match='16 values of a HOGTarget'):
        convert(path, tmp_path / 'out', 'transformers')
    found = load_weights(path)
    weights, facts = found['state_dict'], found['facts']
    report = fit_weights(init_model(DIGITS), weights, path, exact=True, facts=facts)
    assert re.search('HOGTarget, .* PixelTarget: set target.type', str(report))


def test_filtered_pixels_are_pixels(tmp_path):
    path = saved(built(dict(type='LowFrequencyTarget')), tmp_path / 'low.pth')
    convert(path, tmp_path / 'out', 'transformers')


def test_ours_keep_decoder_and_target(hog, tmp_path):
    convert(hog, tmp_path / 'out.safetensors', 'mae')
    found = load_weights(tmp_path / 'out.safetensors')
    assert found['facts']['target'] == 'HOGTarget'
    assert any('verified by the manifest' in note for note in found['notes'])
    model = built(dict(type='HOGTarget', cell_size=2))
    fit_weights(model, found['state_dict'], hog, exact=True, facts=found['facts'])


def test_the_encoder_goes_to_timm_and_back_as_a_teacher(hog, tmp_path):
    """The teacher of the demo's config with features: our encoder in timm's names."""
    out = tmp_path / 'teacher.safetensors'
    convert(hog, out, 'timm', encoder_only=True)
    options = {'model.target.checkpoint': str(out)}
    config = load_config('mae_vit-mini-p4_target-feature_1xb64-coslr-170e_digits-16', options)
    model = init_model(config)
    encoder = built(dict(type='HOGTarget', cell_size=2))
    fit_weights(encoder, load_weights(hog)['state_dict'], hog, exact=True)
    images = torch.randn(2, 1, 16, 16)
    found = model.reconstruct(images)
    tokens = encoder.extract_features(images, 'tokens')[:, 1:]
    expected = torch.nn.functional.layer_norm(tokens, (96,))
    index = found['ids_hide'][..., None].expand(-1, -1, 96)
    torch.testing.assert_close(found['target'], expected.gather(1, index), rtol=1e-4, atol=1e-4)
    assert load_file(out)


def test_another_decoder_stays_out(hog):
    found, model = load_weights(hog), init_model(DIGITS)
    report = fit_weights(model, found['state_dict'], hog, facts=found['facts'])
    assert report.adapted == [
        'the decoder of the file predicts 36 values a patch, not 16, and stays out'
    ]
    with pytest.raises(CheckpointError, match=r'decoder.pred.weight is \(36, 64\) there'):
        fit_weights(model, found['state_dict'], hog, exact=True)
