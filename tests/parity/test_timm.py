"""Encoder, classifier and batch augmentations against timm's own."""

import pytest
import timm
import torch
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from timm.models.vision_transformer import VisionTransformer

from mae.models.algorithms import Classifier
from mae.models.encoders import ViTEncoder
from mae.models.preprocessors import ImagePreprocessor
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators

SMALL = dict(arch=dict(embed_dim=24, depth=3, num_heads=3), img_size=(8, 12), patch_size=4)
SMALL |= dict(in_channels=5, mlp_ratio=2.5)
BASE = dict(arch='base', img_size=224, patch_size=16, in_channels=3, mlp_ratio=4.0)
# Float64 within a test's time: the same width, fewer patches and blocks.
FEW = {**BASE, 'img_size': 96, 'arch': dict(embed_dim=768, depth=3, num_heads=12)}
DTYPES = (torch.float32, torch.float64)
MIXUP = dict(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, label_smoothing=0.1)
MIXUP |= dict(num_classes=7)


def classifier(encoder, pool):
    model = Classifier(
        encoder=dict(type='ViTEncoder', **encoder, trainable_pos=True, final_norm=pool == 'cls'),
        head=dict(
            type='LinearHead',
            num_classes=7,
            pool=pool,
            norm='layer' if pool == 'avg' else 'none',
            init_std=0.1,
        ),
        loss=dict(type='CrossEntropyLoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
    )
    model.init_weights()
    return model


def their_name(name):
    """timm's name of a parameter of our classifier."""
    name = name.removeprefix('encoder.').replace('head.fc_norm.', 'fc_norm.')
    return name.replace('head.fc.', 'head.')


def their_model(model, pool):
    encoder = model.encoder
    with torch.device('meta'):
        theirs = VisionTransformer(
            img_size=encoder.img_size,
            patch_size=encoder.patch_size,
            in_chans=encoder.in_channels,
            num_classes=7,
            global_pool={'avg': 'avg', 'cls': 'token'}[pool],
            embed_dim=encoder.embed_dim,
            depth=encoder.depth,
            num_heads=encoder.blocks[0].attn.num_heads,
            mlp_ratio=encoder.blocks[0].mlp.fc1.out_features / encoder.embed_dim,
            class_token=True,
            no_embed_class=False,
        )
    state = {their_name(name): value.clone() for name, value in model.state_dict().items()}
    theirs.load_state_dict(state, strict=True, assign=True)
    return theirs


# The large ones take seconds: one kind of pooling in each precision.
@pytest.mark.parametrize(
    ('encoder', 'dtype', 'batch', 'pool'),
    [
        *((SMALL, dtype, 3, pool) for dtype in DTYPES for pool in ('avg', 'cls')),
        (BASE, torch.float32, 1, 'avg'),
        (FEW, torch.float64, 1, 'cls'),
    ],
    ids=['small', 'small-cls', 'small-float64', 'small-float64-cls', 'base', 'base-float64-cls'],
)
def test_features_logits_and_gradients(encoder, dtype, batch, pool, same, perturb):
    model = classifier(encoder, pool).to(dtype)
    perturb(model, 0.05, vectors_only=encoder is not SMALL)
    theirs = their_model(model, pool)
    images = torch.randn(batch, model.encoder.in_channels, *model.encoder.img_size, dtype=dtype)
    tokens, their_tokens = model.encoder(images), theirs.forward_features(images)
    logits, their_logits = model.head(tokens), theirs.forward_head(their_tokens)
    labels = torch.arange(batch)
    model.loss(logits, labels).backward()
    torch.nn.functional.cross_entropy(their_logits, labels).backward()
    theirs_by_name = {name: param.grad for name, param in theirs.named_parameters()}
    grads = {their_name(name): param.grad for name, param in model.named_parameters()}
    same(
        {'tokens': tokens, 'logits': logits, **grads},
        {'tokens': their_tokens, 'logits': their_logits, **theirs_by_name},
    )


@pytest.mark.parametrize('size', ['tiny', 'base', 'huge'])
def test_parameter_names_and_shapes_are_timms(size):
    patch = 14 if size == 'huge' else 16
    with torch.device('meta'):
        theirs = timm.create_model(f'vit_{size}_patch{patch}_224', num_classes=0)
        ours = ViTEncoder(size, patch_size=patch)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes


def test_mixup_and_cutmix_are_timms():
    inputs = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    batch = {'inputs': inputs, 'labels': torch.arange(8) % 7, 'keys': torch.arange(8)}
    preprocessor = ImagePreprocessor([120.0] * 3, [60.0] * 3, mixup=MIXUP)
    kinds = set()
    for seed in range(8):
        seed_generators(seed)
        ours = preprocessor(batch, training=True)
        seed_generators(seed)
        images = (inputs.float() - 120) / 60
        kinds.add(bool((images - ours['inputs']).eq(0).flatten(1).any(1).all()))
        images, labels = Mixup(**MIXUP)(images, batch['labels'])
        assert torch.equal(ours['inputs'], images)
        assert torch.equal(ours['labels'], labels)
    assert len(kinds) == 2  # both mixup and cutmix were drawn


def test_random_erasing_is_timms():
    inputs = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8)
    keys = torch.arange(16) * 7919
    batch = {'inputs': inputs, 'labels': torch.zeros(16, dtype=torch.int64), 'keys': keys}
    options = dict(prob=0.5, mode='pixel', max_count=1)
    ours = ImagePreprocessor([120.0] * 3, [60.0] * 3, erase=options)(batch, training=True)
    images = (inputs.float() - 120) / 60
    erase = RandomErasing(probability=0.5, mode='pixel', max_count=1, device='cpu')
    theirs = images.clone()
    for image, key in zip(theirs, keys.tolist(), strict=True):
        seed_generators(derive(key, 1))
        erase(image)
    assert torch.equal(ours['inputs'], theirs)
    erased = (theirs != images).flatten(1).any(1).sum()
    assert 0 < erased < 16
