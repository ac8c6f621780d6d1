"""Encoders of segmenters and detectors for libraries that have plain ViTs."""

import pytest
import torch

from mae.apis import convert, init_model
from mae.fault_tolerance.checkpoint.load import fit_weights
from mae.models.algorithms import Classifier  # noqa: F401  registers
from mae.registry import MODELS
from mae.utils.errors import CheckpointError
from mae.zoo.formats import load_weights

ARCH = {'embed_dim': 24, 'depth': 4, 'num_heads': 3}
ENCODER = {
    'type': 'DenseViTEncoder', 'arch': ARCH, 'img_size': 32, 'patch_size': 8, 'final_norm': False,
}  # fmt: skip
COMMON = {
    'preprocessor': {'type': 'DensePreprocessor', 'mean': [120.0] * 3, 'std': [60.0] * 3},
}
SEGMENTER = {
    **COMMON,
    'taps': [0, 1, 2, 3],
    'type': 'Segmenter',
    'neck': {'type': 'LevelsNeck'},
    'head': {'type': 'FCNHead', 'num_classes': 5, 'width': 8},
    'loss': {'type': 'PixelCrossEntropyLoss'},
}
DETECTOR = {
    **COMMON,
    'taps': [3],
    'type': 'Detector',
    'neck': {'type': 'SimplePyramid', 'channels': 16},
    'rpn': {'type': 'RPN', 'sizes': [4, 8, 16, 24, 32]},
    'roi': {'type': 'RoIHead', 'num_classes': 3, 'width': 16, 'hidden': 32},
}
FACTS = {'num_heads': 3}


@pytest.fixture
def save(tmp_path):
    """save(model config, **encoder) writes the weights of a run; gives model and path."""

    def write(parts, *, trained=False, **encoder):
        torch.manual_seed(0)
        config = {**parts, 'encoder': {**ENCODER, **encoder}}
        model = MODELS.build(config)
        model.init_weights()
        for name, value in model.named_parameters():
            if 'gamma' in name or (trained and 'rel_pos' in name):
                torch.nn.init.normal_(value, std=0.5)
        path = tmp_path / 'model.pth'
        torch.save({'state_dict': model.state_dict(), 'meta': {'cfg': {'model': config}}}, path)
        return model.eval(), path

    return write


def mmpretrain_vit(path, with_cls_token, final_norm=False):
    """mmpretrain's ViT with the weights of a file, by strict loading of its backbone."""
    vit = pytest.importorskip('mmpretrain.models.backbones.vision_transformer')
    model = vit.VisionTransformer(
        arch={
            'embed_dims': 24, 'num_layers': 4, 'num_heads': 3, 'feedforward_channels': 96,
        },
        img_size=32,
        patch_size=8,
        with_cls_token=with_cls_token,
        final_norm=final_norm,
        out_type='featmap',
    )  # fmt: skip
    weights = torch.load(path, weights_only=True)['state_dict']
    assert all(name.startswith('backbone.') for name in weights)
    model.load_state_dict({n.removeprefix('backbone.'): v for n, v in weights.items()})
    model.eval()  # gives None
    return model


@pytest.mark.parametrize('with_cls_token', [True, False])
@torch.inference_mode()
def test_mmpretrain_computes_the_same(save, tmp_path, with_cls_token):
    """Layer scale is folded, relative positions that are still zero change nothing."""
    model, path = save(SEGMENTER, with_cls_token=with_cls_token, layer_scale=1.0, rel_pos='table')
    out = tmp_path / 'out.pth'
    lines = '\n'.join(convert(path, out, 'mmpretrain').lines)
    assert 'left out the head, neck: only the encoder' in lines
    assert 'layer scale is folded' in lines
    assert 'relative positions, which are all zero' in lines
    images = torch.randn(2, 3, 32, 32)
    (theirs,) = mmpretrain_vit(out, with_cls_token)(images)
    (ours,) = model.encoder.maps(images, [3])
    assert (ours - theirs).abs().max() < 1e-5 * ours.abs().max()
    # And back into an encoder of ours: the folded weights, with a scale of 1.
    found = load_weights(out)['state_dict']
    again = MODELS.build({**SEGMENTER, 'encoder': {**ENCODER, 'with_cls_token': with_cls_token}})
    missing, unexpected = again.load_state_dict(found, strict=False)
    assert not unexpected
    assert not [name for name in missing if name.startswith('encoder.')]
    (same,) = again.eval().encoder.maps(images, [3])
    assert (ours - same).abs().max() < 1e-5 * ours.abs().max()


@pytest.mark.parametrize('to', ['mmpretrain', 'timm', 'fair', 'mae'])
def test_what_a_plain_vit_lacks_is_refused_or_dropped(save, tmp_path, to):
    options = dict(with_cls_token=False, window_size=2, global_blocks=[1], rel_pos='axes')
    model, path = save(DETECTOR, trained=True, **options)
    out = tmp_path / 'out.pth'
    message = r'has relative positions \(8 tables, .*\) and windows of 2 patches, .*as_plain_vit'
    with pytest.raises(CheckpointError, match=message) as error:
        convert(path, out, to)
    assert '\n' not in str(error.value)
    assert not out.exists()
    lines = convert(path, out, to, as_plain_vit=True).lines
    assert sum(line.startswith('LEFT OUT') for line in lines) == 2
    found = load_weights(out)['state_dict']
    own = model.state_dict()
    assert all(torch.equal(found[name], own[name]) for name in found)
    assert len(found) == 3 + 4 * 12


def test_transformers_always_have_a_cls_token(save, tmp_path):
    _, path = save(DETECTOR, with_cls_token=False)
    with pytest.raises(CheckpointError) as error:
        convert(path, tmp_path / 'out', 'transformers')
    assert '\n' not in str(error.value)
    assert 'cls' in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_the_head_of_a_segmenter_is_no_classifier(save, tmp_path):
    """Its names are those of a classifier's head; what is trained is another function."""
    head = {'type': 'PixelLinearHead', 'num_classes': 5}
    _, path = save({**SEGMENTER, 'neck': None, 'taps': [3], 'head': head}, final_norm=True)
    out = tmp_path / 'out.safetensors'
    lines = convert(path, out, 'timm', as_plain_vit=True).lines
    assert any('left out the head' in line for line in lines)
    found = load_weights(out)
    assert all(name.startswith('encoder.') for name in found['state_dict'])
    assert 'pool' not in found['facts']


def test_a_detector_that_is_mostly_neck_and_heads_is_ours(save):
    model, path = save(DETECTOR)
    found = load_weights(path)
    assert found['state_dict'].keys() == model.state_dict().keys()
    assert 2 * sum(name.startswith('encoder.') for name in found['state_dict']) < len(
        found['state_dict']
    )


def test_the_flag_without_an_effect_is_told(tmp_path):
    model = init_model('vit-mini-p4_ft-1xb50-coslr-80e_digits-16')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'in.pth')
    lines = convert(tmp_path / 'in.pth', tmp_path / 'out.pth', 'timm', as_plain_vit=True).lines
    assert any('as_plain_vit has no effect' in line for line in lines)


def test_positions_of_other_images_than_the_model_sees(save):
    """The grid that a file states is that of its positions, so the model's own file fits it."""
    encoder = {'with_cls_token': False, 'img_size': (32, 48), 'trainable_pos': True}
    model, path = save(DETECTOR, pos_img_size=16, **encoder)
    found = load_weights(path)
    assert found['facts']['grid_size'] == [2, 2]
    fit_weights(model, found['state_dict'], path, exact=True, facts=found['facts'])
