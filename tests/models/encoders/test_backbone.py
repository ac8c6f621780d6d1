"""Our encoder as the backbone of a classifier of mmpretrain."""

import mmpretrain.models  # noqa: F401
import pytest
import torch
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.models.utils import resize_pos_embed
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from timm.layers import resample_abs_pos_embed

from mae.models import algorithms
from mae.models.encoders import ViTEncoder
from mae.models.layers.pos_embed import resample_pos_embed
from mae.zoo.formats import BY_NAME, export_weights

ENCODER = dict(
    arch=dict(embed_dim=24, depth=2, num_heads=3), img_size=(8, 12), patch_size=4, final_norm=False
)


def classifier(**options):
    backbone = dict(type='mae.ViTEncoder', **{**ENCODER, 'out_type': 'avg_featmap', **options})
    head = dict(type='LinearClsHead', num_classes=5, in_channels=24)
    model = MODELS.build(
        dict(
            _scope_='mmpretrain',
            type='ImageClassifier',
            backbone=backbone,
            head=head,
            data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3),
        )
    )
    model.init_weights()
    return model


def batch():
    samples = [DataSample().set_gt_label(label) for label in (0, 3)]
    return {'inputs': torch.randint(0, 256, (2, 3, 8, 12)), 'data_samples': samples}


def test_trains_a_step_and_predicts():
    model = classifier()
    wrapper = LearningRateDecayOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05)),
        dict(layer_decay_rate=0.5),
    )(model)
    groups = wrapper.param_groups
    rates = {id(param): group['lr'] for group in groups for param in group['params']}
    named = {name: rates.get(id(param)) for name, param in model.named_parameters()}
    assert named['head.fc.weight'] == named['backbone.fc_norm.weight'] == 1e-2
    assert named['backbone.blocks.1.norm1.weight'] == 5e-3
    assert named['backbone.cls_token'] == 1.25e-3
    assert named['backbone.pos_embed'] is None  # frozen unless trainable_pos

    before = model.backbone.blocks[0].attn.qkv.weight.detach().clone()
    losses = [model.train_step(batch(), wrapper)['loss'].item() for _ in range(2)]
    assert losses[1] < losses[0]
    assert not torch.equal(model.backbone.blocks[0].attn.qkv.weight, before)
    model.eval()
    predictions = model.test_step(batch())
    assert [len(sample.pred_score) for sample in predictions] == [5, 5]


@pytest.mark.parametrize('out_type', ['raw', 'cls_token', 'featmap', 'avg_featmap'])
def test_outputs_are_those_of_their_transformer(out_type):
    theirs = MODELS.build(
        dict(
            _scope_='mmpretrain',
            type='VisionTransformer',
            arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96),
            img_size=(8, 12),
            patch_size=4,
            final_norm=False,
            out_type=out_type,
        )
    )
    ours = ViTEncoder(**ENCODER, out_type=out_type)
    ours.init_weights()
    weights = {f'encoder.{name}': value for name, value in ours.state_dict().items()}
    norm = {name: weights.pop(name) for name in list(weights) if 'fc_norm' in name}
    facts = {'grid_size': [2, 3]}
    renamed = export_weights(weights, BY_NAME['mmpretrain'], facts, 'ours').weights
    renamed |= {name.replace('encoder.fc_norm', 'backbone.ln2'): v for name, v in norm.items()}
    theirs.load_state_dict({name.removeprefix('backbone.'): v for name, v in renamed.items()})
    images = torch.randn(2, 3, 8, 12)
    ((found,), (expected,)) = ours(images), theirs(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_loads_a_model_of_this_toolbox():
    source = algorithms.Classifier(
        encoder=dict(type='ViTEncoder', **ENCODER),
        head=dict(type='LinearHead', num_classes=5),
        loss=dict(type='CrossEntropyLoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
    )
    source.init_weights()
    model = classifier().eval()
    _load_checkpoint_to_model(model, {'state_dict': source.state_dict()}, strict=True)
    images = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(model(images), source.eval()(images))


def of_another_size(**options):
    """Weights of a classifier of ours for 16 x 16 pixels, in our names."""
    source = algorithms.Classifier(
        encoder=dict(type='ViTEncoder', **{**ENCODER, 'img_size': 16, **options}),
        head=dict(type='LinearHead', num_classes=5),
        loss=dict(type='CrossEntropyLoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
    )
    source.init_weights()
    torch.nn.init.normal_(source.encoder.pos_embed)
    return source.state_dict()


@pytest.mark.parametrize('load', ['torch', 'mmengine'])
@pytest.mark.parametrize('prefixed', [True, False])
def test_positions_of_another_size_are_resampled(load, prefixed):
    weights = of_another_size()
    before = weights['encoder.pos_embed'].clone()
    if not prefixed:  # as mmpretrain's own checkpoints of our backbone
        names = {'encoder.': 'backbone.', 'head.fc_norm.': 'backbone.fc_norm.'}
        for ours, theirs in names.items():
            weights = {name.replace(ours, theirs): value for name, value in weights.items()}
    model = classifier()
    if load == 'torch':
        model.load_state_dict(weights, strict=True)
    else:
        _load_checkpoint_to_model(model, {'state_dict': weights}, strict=True)
    expected = resample_pos_embed(before, (2, 3), num_prefix_tokens=1)
    assert torch.equal(model.backbone.pos_embed, expected)
    assert torch.equal(before[:, 0], model.backbone.pos_embed[:, 0])
    assert len(model.eval()(torch.randn(2, 3, 8, 12))) == 2


def test_their_runner_starts_from_a_file_of_another_size(tmp_path):
    from mmengine.runner import load_checkpoint

    torch.save({'state_dict': of_another_size()}, tmp_path / 'mae.pth')
    model = classifier(img_size=32)
    load_checkpoint(model, str(tmp_path / 'mae.pth'), map_location='cpu', strict=True)
    assert model.backbone.pos_embed.shape == (1, 65, 24)


def test_position_of_a_cls_token_that_is_not_used():
    model = ViTEncoder(**ENCODER, out_type='featmap', with_cls_token=False)
    positions = torch.randn(1, 7, 24)
    model.load_state_dict({'pos_embed': positions}, strict=False)
    assert torch.equal(model.pos_embed, positions[:, 1:])


def test_positions_that_fit_no_grid_are_an_error():
    weights = of_another_size(img_size=(8, 20))  # 10 patches, of a shape that no key tells
    with pytest.raises(ValueError, match=r'backbone\.pos_embed does not fit .* 10 positions '):
        classifier().load_state_dict(weights)


def test_within_this_toolbox_nothing_is_resampled_in_silence():
    weights = {'pos_embed': torch.zeros(1, 17, 24)}
    with pytest.raises(RuntimeError, match='size mismatch for pos_embed'):
        ViTEncoder(**ENCODER).load_state_dict(weights, strict=False)


@pytest.mark.parametrize('pos_antialias', [True, False])
def test_positions_are_resampled_as_timm_or_as_mmpretrain(pos_antialias):
    weights = of_another_size()
    learned = weights['encoder.pos_embed'].clone()
    model = classifier(pos_antialias=pos_antialias)
    model.load_state_dict(weights, strict=True)
    if pos_antialias:
        expected = resample_abs_pos_embed(learned, [2, 3])
    else:
        expected = resize_pos_embed(learned, (4, 4), (2, 3))
    torch.testing.assert_close(model.backbone.pos_embed.data, expected)


def test_wrong_out_type():
    with pytest.raises(ValueError, match=r"None .* raw, cls_token, .* not 'mean'"):
        ViTEncoder(**ENCODER, out_type='mean')
    with pytest.raises(ValueError, match='needs with_cls_token=True'):
        ViTEncoder(**ENCODER, out_type='cls_token', with_cls_token=False)
