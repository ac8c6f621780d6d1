import random

import numpy as np
import pytest
import torch
from timm.data.random_erasing import RandomErasing
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode

from mae.models.preprocessors import ImagePreprocessor
from mae.models.preprocessors.augment import Erase, Mix
from mae.models.preprocessors.image import normalise
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
MIXUP = dict(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=4)


def batch(count=4):
    return {
        'inputs': torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8),
        'labels': torch.arange(count) % 4,
        'ids': torch.arange(count) + 5,
        'keys': torch.arange(count) * 1000003,
    }


def test_normalises():
    data = batch()
    before = data['inputs'].clone()
    out = ImagePreprocessor(MEAN, STD)(data)
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (MEAN, STD))
    expected = (before.double() - mean) / std
    assert out['inputs'].dtype == torch.float32
    torch.testing.assert_close(out['inputs'].double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(data['inputs'], before)
    assert data['inputs'].dtype == torch.uint8
    for name in ('labels', 'ids', 'keys'):
        assert torch.equal(out[name], data[name])


def test_one_mean_for_all_channels():
    data = batch()
    same = ImagePreprocessor([120.0] * 3, [60.0] * 3)
    for inputs in (data['inputs'], data['inputs'].contiguous(memory_format=torch.channels_last)):
        data['inputs'] = inputs
        out = ImagePreprocessor([120.0], [60.0])(data)
        assert torch.equal(out['inputs'], same(data)['inputs'])
    with pytest.raises(ValueError, match=r'images have 3 channels, preprocessor\.mean has 2'):
        ImagePreprocessor([120.0] * 2, [60.0] * 2)(data)


def test_mixes_and_erases_in_training_only():
    data = batch()
    plain = ImagePreprocessor(MEAN, STD)(data)
    preprocessor = ImagePreprocessor(MEAN, STD, mixup=MIXUP, erase=dict(prob=1.0, mode='pixel'))
    rest = preprocessor(data, training=False)
    assert torch.equal(rest['inputs'], plain['inputs'])
    assert torch.equal(rest['labels'], data['labels'])
    mixed = preprocessor(data, training=True)
    assert not torch.equal(mixed['inputs'], plain['inputs'])
    assert mixed['labels'].shape == (4, 4)
    torch.testing.assert_close(mixed['labels'].sum(1), torch.ones(4))


def test_erasing_follows_the_key_alone():
    preprocessor = ImagePreprocessor(MEAN, STD, erase=dict(prob=0.5, mode='pixel'))
    data = batch(8)
    whole = preprocessor(data, training=True)['inputs']
    order = torch.tensor([6, 1, 3])
    part = preprocessor({name: value[order] for name, value in data.items()}, training=True)
    assert torch.equal(part['inputs'], whole[order])


@pytest.mark.parametrize('mode', ['pixel', 'rand', 'const'])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('at_once', [False, True])
def test_boxes_are_those_of_timm_image_by_image(monkeypatch, mode, layout, at_once):
    """Also where boxes of an image overlap, and whatever is drawn afterwards."""
    monkeypatch.setattr('mae.models.preprocessors.augment._at_once', lambda images: at_once)
    options = dict(mode=mode, max_count=3, max_area=0.8)
    images = torch.randn(16, 3, 12, 9).to(memory_format=layout)
    keys = torch.arange(16) * 7919
    seed_generators(3)
    expected = images.clone()
    after = int(torch.randint(1 << 62, ()))
    erase = RandomErasing(0.7, device='cpu', **options)
    for image, key in zip(expected, keys.tolist(), strict=True):
        seed_generators(derive(key, 1))
        erase(image)
    seed_generators(after)
    drawn = (random.random(), np.random.rand(), torch.rand(3).tolist())
    seed_generators(3)
    found = Erase(0.7, **options)(images, keys)
    assert found is images
    assert torch.equal(found, expected)
    assert drawn == (random.random(), np.random.rand(), torch.rand(3).tolist())


def test_erasing_takes_as_many_operators_for_any_batch():
    """On the device, for which meta stands."""

    class OnDevice(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            tensors = [x for x in (out, *args) if isinstance(x, torch.Tensor)]
            names.extend([func] if any(x.is_meta for x in tensors) else [])
            return out

    counts = []
    for count in (2, 12):
        images = torch.empty(count, 3, 8, 8, device='meta')
        names = []
        with OnDevice():
            Erase(1.0, mode='pixel')(images, torch.arange(count))
        counts.append(len(names))
    assert 0 < counts[0] == counts[1] < 20


def test_what_follows_erasing_is_random_by_step():
    """Mixing and drop path belong to the step: erasing before them must not seed them."""
    preprocessor = ImagePreprocessor(MEAN, STD, erase=dict(prob=1.0, mode='pixel'), mixup=MIXUP)
    data, found = batch(), []
    for seed in (0, 1, 0):
        seed_generators(seed)
        found.append((preprocessor(data, training=True)['labels'], torch.rand(3)))
    for one, other, again in zip(*found, strict=True):
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


def test_errors():
    with pytest.raises(
        ValueError, match=r'^preprocessor.mean and preprocessor.std need one number'
    ):
        ImagePreprocessor(MEAN, STD[:2])
    with pytest.raises(ValueError, match='deviations positive'):
        ImagePreprocessor(MEAN, [1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r'holds 1; make train_dataloader.batch_size at least 2$'):
        ImagePreprocessor(MEAN, STD, mixup=MIXUP)(batch(1), training=True)


@pytest.mark.parametrize('count', [2, 3, 5, 8])
def test_mixup_of_any_number_of_images(count):
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()
    mix = Mix(mixup_alpha=1.0, num_classes=count, label_smoothing=0.0)
    seed_generators(0)
    mixed, labels = mix(images, torch.arange(count))
    assert labels.shape == (count, count)
    torch.testing.assert_close(labels.sum(1), torch.ones(count))
    values = labels @ torch.arange(count).float()  # each image has the value of its label
    torch.testing.assert_close(mixed, values.view(-1, 1, 1, 1).expand_as(mixed))
    assert ((labels > 0).sum(1) == 2).all()


def test_nothing_of_it_is_saved():
    assert not ImagePreprocessor(MEAN, STD).state_dict()


@pytest.mark.parametrize('channels', [1, 3])
def test_numbers_do_not_depend_on_the_layout_in_memory(channels):
    images = torch.randint(0, 256, (2, channels, 5, 7), dtype=torch.uint8)
    part = ImagePreprocessor(
        [123.675, 116.28, 103.53][:channels], [58.395, 57.12, 57.375][:channels]
    )
    expected = (images.float() - part.mean) / part.std
    for layout in (torch.contiguous_format, torch.channels_last):
        found = normalise(images.contiguous(memory_format=layout), part.mean, part.std)
        assert torch.equal(found, expected)
        assert found.is_contiguous(memory_format=layout)
    floats = images.float()
    normalise(floats, part.mean, part.std)
    assert torch.equal(floats, images.float())  # what was given is left as it is


def test_shrinks_as_the_loader_would():
    """To within the rounding of whole grey levels."""
    images = torch.randint(0, 256, (2, 3, 12, 16), dtype=torch.uint8)
    preprocessor = ImagePreprocessor([0.0] * 3, [1.0] * 3)
    preprocessor.set_img_size((12, 16), (6, 8))
    out = preprocessor({'inputs': images})['inputs']
    theirs = interpolate(images, (6, 8), mode='bicubic', antialias=True)
    assert out.shape == (2, 3, 6, 8)
    assert (out - theirs.float()).abs().max() <= 1.01
    assert out.min() >= 0
    assert out.max() <= 255
    preprocessor.set_img_size((12, 16), (12, 16))
    assert torch.equal(preprocessor({'inputs': images})['inputs'], images.float())


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (
            dict(mixup_alpha=0, cutmix_alpha=0),
            r'^mixup needs .* 0 and 0; ',
        ),
        (
            dict(mixup_alpha=-2),
            r'^mixup needs .*mixup_alpha .*cutmix_alpha above 0',
        ),
        (dict(prob=2), r'^mixup.prob must lie in 0..1, not 2$'),
        (dict(label_smoothing=-1), r'^mixup.label_smoothing must lie in 0..1, not -1$'),
    ],
)
def test_mixing_that_cannot_be(changed, message):
    with pytest.raises(ValueError, match=message):
        ImagePreprocessor(MEAN, STD, mixup={**MIXUP, **changed})
