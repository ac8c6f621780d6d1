"""RandAugment, erasing, mixup and cutmix of every fine-tuning recipe: timm's, with its settings."""

import random

import numpy as np
import pytest
import torch
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing

from mae.apis import load_config
from mae.config import shipped_configs
from mae.registry import MODELS, TRANSFORMS
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
IN1K = [path.stem for path in shipped_configs() if path.stem.endswith(('in1k', 'in1k-448'))]
FINETUNED = [name for name in IN1K if '_ft-' in name]
SCRATCH = [name for name in IN1K if '_scratch-' in name]
assert len(FINETUNED) >= 7
assert len(SCRATCH) >= 3


def settings(operation):
    return (operation.name, operation.magnitude, operation.prob, operation.hparams)


@pytest.mark.parametrize('name', FINETUNED + SCRATCH)
def test_policy_is_timms(name):
    cfg = load_config(name)
    (step,) = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'RandAugment']
    side = cfg.model.encoder.img_size
    ours = TRANSFORMS.build(step)._build(side)
    # As timm's create_transform calls it: the mean in grey levels fills, shifts up to .45 of it.
    theirs = rand_augment_transform(
        'rand-m9-mstd0.5-inc1',
        {
            'translate_const': int(side * 0.45),
            'img_mean': tuple(min(255, round(255 * value)) for value in MEAN.tolist()),
            'interpolation': 3,  # Pillow's bicubic
        },
    )
    assert type(ours) is type(theirs)
    assert (ours.num_layers, ours.choice_weights) == (theirs.num_layers, theirs.choice_weights)
    assert [settings(op) for op in ours.ops] == [settings(op) for op in theirs.ops]
    assert len(ours.ops) == 15
    for op, other in zip(ours.ops, theirs.ops, strict=True):
        posterize = op.name.startswith('Posterize')  # 0 bits: an error in Pillow 13
        assert posterize or op.aug_fn is other.aug_fn, op.name


def batch(name):
    """Ours of a shipped config on 8 small images: (preprocessor, data, normalised images)."""
    cfg = load_config(name)
    inputs = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    data = {'inputs': inputs, 'labels': torch.arange(8) * 100, 'keys': torch.arange(8) + 7}
    mean, std = MEAN.view(3, 1, 1), STD.view(3, 1, 1)
    return MODELS.build(cfg.model.preprocessor), data, (inputs.float() / 255 - mean) / std


@pytest.mark.parametrize('name', FINETUNED + SCRATCH)
def test_mixing_is_timms(name):
    preprocessor, data, images = batch(name)
    mix = Mixup(
        mixup_alpha=0.8,
        cutmix_alpha=1.0,
        prob=1.0,
        switch_prob=0.5,
        mode='batch',
        label_smoothing=0.1,
        num_classes=1000,
    )
    preprocessor.erase = None
    cut = set()
    for seed in range(12):
        seed_generators(seed)
        ours = preprocessor(data, training=True)
        seed_generators(seed)
        expected, targets = mix(images.clone(), data['labels'])
        torch.testing.assert_close(ours['inputs'], expected, rtol=0, atol=2e-6)
        assert torch.equal(ours['labels'], targets)
        untouched = (ours['inputs'] - images).abs().lt(1e-5).float().mean()
        cut.add(bool(untouched > 0.1))
    assert cut == {True, False}  # cutmix and mixup


@pytest.mark.parametrize('name', FINETUNED + SCRATCH)
def test_erasing_is_timms_and_comes_before_mixing(name):
    preprocessor, data, images = batch(name)
    erase = RandomErasing(0.25, mode='pixel', max_count=1, device='cpu')
    seen = []
    preprocessor.mix = lambda images, labels: seen.append(images) or (images, labels)
    erased = 0
    for epoch in range(8):
        data['keys'] = data['keys'] + epoch
        preprocessor(data, training=True)
        expected = images.clone()
        if name in FINETUNED:  # table 11, from scratch, lists no erasing
            for image, key in zip(expected, data['keys'].tolist(), strict=True):
                seed_generators(derive(key, 1))
                erase(image)
        torch.testing.assert_close(seen[-1], expected, rtol=0, atol=2e-6)
        erased += int((expected != images).flatten(1).any(1).sum())
    assert (5 < erased < 32) if name in FINETUNED else not erased


def test_targets_by_hand():
    """lam of one image and 1 - lam of its partner, each smoothed by .1 over 1,000 classes."""
    preprocessor, data, _ = batch(FINETUNED[0])
    low, high = 0.1 / 1000, 0.9 + 0.1 / 1000
    shares = set()
    for seed in range(8):
        random.seed(seed)
        np.random.seed(seed)
        targets = preprocessor(data, training=True)['labels'].double()
        assert targets.sum(1).sub(1).abs().max() < 1e-6
        for row, (label, partner) in zip(targets, zip(*pairs(data), strict=True), strict=True):
            share = (row[label] - low) / (high - low)
            expected = torch.full((1000,), low, dtype=torch.float64)
            expected[label] = share * high + (1 - share) * low
            expected[partner] = (1 - share) * high + share * low
            torch.testing.assert_close(row, expected, rtol=0, atol=1e-6)
            shares.add(round(share.item(), 4))
    assert len(shares) > 4
    assert all(0 <= share <= 1 for share in shares)


def pairs(data):
    """timm pairs the first image with the last."""
    labels = data['labels'].tolist()
    return labels, labels[::-1]
