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
from mae.zoo.formats import BY_NAME, leave

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
    renamed = leave(weights, BY_NAME['mmpretrain'], facts, 'ours').weights
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


@pytest.mark.parametrize('pos_antialias', [True, False])
def test_loads_weights_of_another_size(pos_antialias):
    """Of our toolbox's square images, as mmengine's `load_from` loads them."""
    source = algorithms.Classifier(
        encoder=dict(type='ViTEncoder', **{**ENCODER, 'img_size': 16}),
        head=dict(type='LinearHead', num_classes=5),
        loss=dict(type='CrossEntropyLoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
    )
    source.init_weights()
    learned = source.encoder.pos_embed.data.add_(torch.randn(1, 17, 24)).clone()
    model = classifier(pos_antialias=pos_antialias)
    _load_checkpoint_to_model(model, {'state_dict': source.state_dict()}, strict=True)
    if pos_antialias:
        expected = resample_abs_pos_embed(learned, [2, 3])
    else:
        expected = resize_pos_embed(learned, (4, 4), (2, 3))
    torch.testing.assert_close(model.backbone.pos_embed.data, expected)
    assert torch.equal(source.encoder.pos_embed, learned)
    torch.testing.assert_close(model.backbone.cls_token, source.encoder.cls_token)

    with pytest.raises(ValueError, match=r'^5 positions do not form a square grid'):
        model.backbone.load_state_dict({'pos_embed': torch.zeros(1, 6, 24)}, strict=False)
    plain = ViTEncoder(**ENCODER)  # not a backbone: this toolbox fits weights before
    with pytest.raises(RuntimeError, match='size mismatch for pos_embed'):
        plain.load_state_dict({'pos_embed': learned}, strict=False)


def test_wrong_out_type():
    with pytest.raises(ValueError, match=r"must be None or one of raw, cls_token, .* not 'mean'"):
        ViTEncoder(**ENCODER, out_type='mean')
    with pytest.raises(ValueError, match='needs with_cls_token=True'):
        ViTEncoder(**ENCODER, out_type='cls_token', with_cls_token=False)
