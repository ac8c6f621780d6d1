import pytest
import torch

from mae.models.layers.block import DropPath

ALWAYS = {'head.fc_norm', 'head.fc'}
LAYERS = [f'encoder.blocks.{n}' for n in range(4)]
INNER = ['norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2']


def trained(model):
    """Modules, or parameters outside modules, that get gradients."""
    names = [name for name, param in model.named_parameters() if param.requires_grad]
    return {name.removesuffix('.weight').removesuffix('.bias') for name in names}


def blocks(*numbers):
    return {f'encoder.blocks.{number}.{inner}' for number in numbers for inner in INNER}


@pytest.mark.parametrize(
    ('trainable_blocks', 'expected'),
    [
        (0, set()),
        (0.5, {f'encoder.blocks.3.{inner}' for inner in INNER[3:]} | {'encoder.norm'}),
        (1, blocks(3) | {'encoder.norm'}),
        (3, blocks(1, 2, 3) | {'encoder.norm'}),
        (4, blocks(0, 1, 2, 3) | {'encoder.norm'}),
        (
            None,
            {'encoder.cls_token', 'encoder.patch_embed.proj', 'encoder.norm', 'encoder.pos_embed'}
            | blocks(0, 1, 2, 3),
        ),
    ],
)
def test_what_is_trained(build_classifier, trainable_blocks, expected):
    model = build_classifier(trainable_blocks, encoder=dict(trainable_pos=True))
    assert trained(model) == expected | ALWAYS
    model.init_weights()
    for param in model.parameters():
        param.data.add_(torch.randn_like(param), alpha=0.1)
    loss = model(torch.randn(4, 5, 8, 12), torch.arange(4) % 3, mode='loss')['loss']
    loss.backward()
    for name, param in model.named_parameters():
        assert (param.grad is not None) == param.requires_grad, name


@pytest.mark.parametrize(
    ('trainable_blocks', 'still'), [(None, 0), (0, 4), (0.5, 3), (1, 3), (3, 1), (4, 0)]
)
def test_frozen_modules_stay_in_evaluation(build_classifier, trainable_blocks, still):
    model = build_classifier(trainable_blocks, encoder=dict(drop_path_rate=0.5))
    for _ in range(2):
        model.eval()
        assert not any(module.training for module in model.modules())
        model.train()
        assert model.training
        paths = [m.training for m in model.encoder.modules() if isinstance(m, DropPath)]
        assert paths == [False] * still + [True] * (4 - still)
        assert model.head.training
    assert model.encoder.training == (trainable_blocks != 0)


@pytest.mark.parametrize('trainable_blocks', [-1, 5, 1.5, 0.3])
def test_blocks_that_there_are_not(build_classifier, trainable_blocks):
    message = r'^model.trainable_blocks must be 0, 0.5 or [^\n]* 4, not [^\n]*$'
    with pytest.raises(ValueError, match=message):
        build_classifier(trainable_blocks)


def test_modes(build_classifier):
    model = build_classifier().eval()
    images, labels = torch.randn(2, 5, 8, 12), torch.tensor([0, 2])
    logits = model(images)
    assert logits.shape == (2, 3)
    assert torch.equal(logits, model.head(model.encoder(images)))
    loss = model(images, labels, mode='loss')['loss']
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, labels))
    (out,) = model(images, labels, mode='predict', ids=labels, keys=labels)
    assert torch.equal(out['logits'], logits)
    assert torch.equal(out['labels'], labels)
    with pytest.raises(ValueError, match=r"^mode='loss' needs labels$"):
        model(images, mode='loss')


def test_facts_pass_from_encoder_to_head(build_classifier):
    model = build_classifier(encoder=dict(with_cls_token=False))
    assert model.head.fc.in_features == 16
    with pytest.raises(ValueError, match=r"^head.pool='cls' needs encoder.with_cls_token=True$"):
        build_classifier(encoder=dict(with_cls_token=False), head=dict(pool='cls'))


def test_layers_for_decay(build_classifier):
    model = build_classifier()
    assert model.get_layer_depth('head.fc.weight') == (5, 5)
    assert model.get_layer_depth('encoder.blocks.3.norm1.bias') == (4, 5)
    assert model.get_layer_depth('encoder.cls_token') == (0, 5)
    assert model.no_weight_decay() == {'encoder.cls_token', 'encoder.pos_embed'}


def test_features_do_not_depend_on_the_batch(build_classifier):
    model = build_classifier().double().eval()
    images = torch.randn(3, 5, 8, 12, dtype=torch.float64)
    whole = model.extract_features(images)
    assert whole.shape == (3, 16)
    torch.testing.assert_close(model.extract_features(images[1:2]), whole[1:2])
    assert model.extract_features(images, pool='tokens').shape == (3, 7, 16)


def test_weights_of_another_image_size(build_classifier):
    square, wide = dict(img_size=(16, 16)), dict(img_size=(8, 12))
    source, model = build_classifier(encoder=square), build_classifier(encoder=wide)
    weights = source.state_dict()
    line = 'encoder.pos_embed resampled from 17 to 7 positions, antialiased'
    assert model.adapt_weights(weights) == [line]
    model.load_state_dict(weights)
    assert source.adapt_weights(source.state_dict()) == []
    assert model.adapt_weights({'head.fc.bias': torch.zeros(3)}) == []


def test_grid_of_learning_rates(build_classifier):
    grid = dict(type='LinearGridHead', lr_scales=[0.5, 2.0])
    model = build_classifier(0, head=grid)
    assert trained(model) == {'head.fcs.0', 'head.fcs.1'}
    assert model.get_lr_scale('head.fcs.1.bias') == 2.0
    assert model.get_lr_scale('encoder.norm.weight') == 1.0
    assert build_classifier().get_lr_scale('head.fc.weight') == 1.0
    model.eval()
    labels = torch.tensor([0, 2])
    (out,) = model(torch.randn(2, 5, 8, 12), labels, mode='predict')
    assert out['logits'].shape == (2, 2, 3)
    assert out['lr_scales'] == (0.5, 2.0)
    for blocks in (None, 1):
        with pytest.raises(ValueError, match=r'^LinearGridHead needs a frozen encoder: [^\n]*$'):
            build_classifier(blocks, head=grid)


@pytest.mark.parametrize('label', [-1, 3])
def test_labels_the_head_has_no_class_for(build_classifier, label):
    model = build_classifier()
    images = torch.zeros(3, 5, 8, 12, dtype=torch.uint8)
    labels, ids = torch.tensor([0, 2, label]), torch.tensor([4, 5, 6])
    batch = {'inputs': images, 'labels': labels, 'ids': ids, 'keys': ids}
    message = rf'^sample 6 has label {label}, .*model.head.num_classes=3 .* 0..2$'
    with pytest.raises(ValueError, match=message):
        model.data_preprocessor(batch, True)
    model.data_preprocessor(batch, False)  # evaluation counts them


def test_mixup_takes_the_classes_of_the_head(build_classifier):
    model = build_classifier(preprocessor=dict(mixup=dict(mixup_alpha=0.8)))
    inputs = torch.zeros(2, 5, 8, 12, dtype=torch.uint8)
    batch = dict(
        inputs=inputs, labels=torch.tensor([0, 2]), ids=torch.arange(2), keys=torch.arange(2)
    )
    assert model.data_preprocessor(batch, training=True)['labels'].shape == (2, 3)


def test_mixup_for_other_classes(build_classifier):
    mixup = dict(mixup_alpha=0.8, num_classes=5)
    with pytest.raises(ValueError, match=r'^model.preprocessor.mixup.num_classes=5, but '):
        build_classifier(preprocessor=dict(mixup=mixup))
