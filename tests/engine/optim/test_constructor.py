import pytest
import torch

import mae.models
from mae.engine.optim import LARS, GroupedOptimConstructor
from mae.registry import MODELS

assert mae.models

DEPTH = 3
ENCODER = dict(
    type='ViTEncoder',
    arch=dict(embed_dim=16, depth=DEPTH, num_heads=2),
    img_size=8,
    patch_size=4,
    in_channels=1,
)
COMMON = dict(encoder=ENCODER, preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]))
TOKENS = ('cls_token', 'mask_token', 'pos_embed')


@pytest.fixture
def mae_model():
    return MODELS.build(
        dict(
            COMMON,
            type='MAE',
            decoder=dict(type='TransformerDecoder', embed_dim=8, depth=2, num_heads=2),
            masker=dict(type='RandomMasker', mask_ratio=0.5),
            target=dict(type='PixelTarget'),
            loss=dict(type='MaskedMSELoss'),
        )
    )


@pytest.fixture
def classifier():
    return MODELS.build(
        dict(
            COMMON,
            type='Classifier',
            encoder=dict(ENCODER, trainable_pos=True, final_norm=False),
            head=dict(type='LinearHead', num_classes=3),
            loss=dict(type='CrossEntropyLoss'),
        )
    )


def build(model, optimizer=None, **paramwise):
    optimizer = optimizer or dict(type='AdamW', lr=0.1, weight_decay=0.05)
    cfg = dict(type='StepOptimWrapper', optimizer=optimizer)
    return GroupedOptimConstructor(cfg, paramwise)(model).optimizer


def settings(model, optimizer):
    """(lr, weight decay) of every parameter that is trained; each is in one group."""
    names = {param: name for name, param in model.named_parameters()}
    found = [
        (names[param], (group['lr'], group['weight_decay']))
        for group in optimizer.param_groups
        for param in group['params']
    ]
    assert len(found) == len(dict(found))
    assert set(dict(found)) == {n for n, p in model.named_parameters() if p.requires_grad}
    return dict(found)


@pytest.mark.parametrize('decay_tokens', [True, False])
def test_pre_training(mae_model, decay_tokens):
    optimizer = build(mae_model, layer_decay=None, decay_tokens=decay_tokens)
    assert len(optimizer.param_groups) == 2
    for name, (lr, decay) in settings(mae_model, optimizer).items():
        is_token = name.endswith(TOKENS)
        vector = mae_model.get_parameter(name).ndim == 1
        assert vector == (name.endswith('.bias') or 'norm' in name)
        assert lr == 0.1
        assert decay == (0 if vector or (is_token and not decay_tokens) else 0.05), name


def test_the_authors_decay_tokens_in_pre_training(mae_model):
    found = settings(mae_model, build(mae_model))  # the default
    assert found['encoder.cls_token'] == found['decoder.mask_token'] == (0.1, 0.05)


def test_fine_tuning(classifier):
    optimizer = build(classifier, layer_decay=0.65, decay_tokens=False)
    assert len(optimizer.param_groups) <= 2 * (DEPTH + 2)
    assert len({(g['lr_scale'], g['weight_decay']) for g in optimizer.param_groups}) == len(
        optimizer.param_groups
    )
    for name, (lr, decay) in settings(classifier, optimizer).items():
        layer = DEPTH + 1
        if name.startswith('encoder.blocks.'):
            layer = int(name.split('.')[2]) + 1
        elif name.startswith('encoder.'):
            layer = 0
        assert lr == pytest.approx(0.1 * 0.65 ** (DEPTH + 1 - layer)), name
        plain = classifier.get_parameter(name).ndim == 1 or name.endswith(TOKENS)
        assert decay == (0 if plain else 0.05), name


@pytest.mark.parametrize('kind', ['none', 'biases', 'all'])
def test_vectors_that_decay(classifier, kind):
    """ViTDet decays biases, its ViT-H norms too."""
    optimizer = build(classifier, decay_tokens=False, decay_vectors=kind)
    for name, (_, decay) in settings(classifier, optimizer).items():
        exempt = name.endswith(TOKENS)
        if classifier.get_parameter(name).ndim == 1:
            exempt = kind == 'none' or ('norm' in name and kind == 'biases')
        assert decay == (0 if exempt else 0.05), name
    with pytest.raises(ValueError, match=r"decay_vectors must be 'none'"):
        build(classifier, decay_vectors='norms')


def test_parameters_that_are_named_do_not_decay(classifier):
    """MIMDet exempts the tables of relative positions."""
    found = settings(classifier, build(classifier, no_decay=['blocks.1.', 'head']))
    for name, (_, decay) in found.items():
        named = 'blocks.1.' in name or 'head' in name
        assert decay == (0 if named or classifier.get_parameter(name).ndim == 1 else 0.05), name
    with pytest.raises(ValueError, match='no_decay must be a list'):
        build(classifier, no_decay='rel_pos')


def test_only_what_is_trained(mae_model):
    mae_model.encoder.requires_grad_(False)
    assert all(name.startswith('decoder.') for name in settings(mae_model, build(mae_model)))
    mae_model.requires_grad_(False)
    with pytest.raises(ValueError, match=r'^nothing to train: every parameter [^\n]*$'):
        build(mae_model)


def test_lars_leaves_vectors_alone(classifier):
    lars = dict(type='LARS', lr=0.1, momentum=0.9, weight_decay=0.0, eta=0.001)
    optimizer = build(classifier, lars)
    assert isinstance(optimizer, LARS)
    assert len(optimizer.param_groups) == 2
    for group in optimizer.param_groups:
        excluded = group.get('lars_exclude', False)
        assert all((param.ndim <= 1) == excluded for param in group['params'])
    # With a gradient of ones an excluded parameter takes the plain step, lr x gradient.
    bias = classifier.head.fc.bias
    before = bias.detach().clone()
    classifier.zero_grad()
    for param in classifier.parameters():
        param.grad = torch.ones_like(param)
    optimizer.step()
    torch.testing.assert_close(bias, before - 0.1)


def test_unknown_option(mae_model):
    with pytest.raises(ValueError, match=r"^optim_wrapper.paramwise_cfg has .*\['layer_decy'\]"):
        build(mae_model, layer_decy=0.5)


def test_scales_of_the_model_multiply_those_of_the_layers(classifier, monkeypatch):
    def scale(name):
        return 3.0 if name.startswith('head.') else 1.0

    monkeypatch.setattr(classifier, 'get_lr_scale', scale)
    plain, decayed = build(classifier), build(classifier, layer_decay=0.5)
    for name, (lr, _) in settings(classifier, plain).items():
        assert lr == pytest.approx(0.1 * scale(name)), name
    for name, (lr, _) in settings(classifier, decayed).items():
        layer, last = classifier.get_layer_depth(name)
        assert lr == pytest.approx(0.1 * scale(name) * 0.5 ** (last - layer)), name


@pytest.mark.parametrize('amp', [None, 'float16'])
def test_a_lean_residual_stream_needs_bfloat16(mae_model, amp):
    mae_model.decoder.bf16_residual = True
    cfg = dict(type='StepOptimWrapper', amp=amp, optimizer=dict(type='AdamW', lr=0.1))
    with pytest.warns(UserWarning, match=r'^bf16_residual has no effect without optim_wrapper'):
        GroupedOptimConstructor(cfg)(mae_model)
    GroupedOptimConstructor({**cfg, 'amp': 'bfloat16'})(mae_model)  # no warning
