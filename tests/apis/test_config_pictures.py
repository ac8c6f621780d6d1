"""Schedules and batches of configs, drawn without training."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mae.apis import draw_batch, draw_schedule, load_config
from mae.apis.batch_picture import first_batch, training_inputs
from mae.apis.schedule_picture import learning_rates
from mae.registry import MODELS
from mae.utils.errors import ConfigError, DataError

PRETRAIN = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
FINETUNE = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'


def test_rates_are_the_recipes():
    """Linear warm-up to lr = base_lr * G / 256, then half a cosine to zero; 22 steps an epoch."""
    rates = learning_rates(load_config(PRETRAIN))
    assert (rates.steps, rates.steps_per_epoch) == (3740, 22)
    assert rates.lowest == rates.highest
    peak, warmup = 8e-3 * 64 / 256, 20 * 22
    expected = [
        peak * t / warmup
        if t < warmup
        else peak * (1 + math.cos(math.pi * (t - warmup) / (3740 - warmup))) / 2
        for t in range(3740)
    ]
    assert rates.highest == pytest.approx(expected, rel=1e-12, abs=1e-18)
    assert rates.line.startswith('lr 0.002 = 0.008 x 64 / 256')


def test_layer_decay_has_a_slowest_rate():
    config = load_config(FINETUNE, {'param_scheduler.warmup_epochs': 1})
    rates = learning_rates(config)
    decay = config.optim_wrapper.paramwise_cfg.layer_decay
    depth = 6
    at = rates.steps_per_epoch
    assert rates.lowest[at] == pytest.approx(rates.highest[at] * decay ** (depth + 1))


def test_a_run_in_steps_with_schedules_of_mmengine():
    changes = {
        'train_cfg': dict(_delete_=True, type='TrainLoop', max_steps=40, val_interval=40),
        'param_scheduler': [dict(type='StepLR', step_size=10, gamma=0.5)],
    }
    rates = learning_rates(load_config(PRETRAIN, changes))
    assert rates.highest == pytest.approx([2e-3 * 0.5 ** (step // 10) for step in range(40)])


def test_images_that_are_elsewhere():
    small = {'model.encoder.arch': {'embed_dim': 16, 'depth': 1, 'num_heads': 2}}
    config = load_config('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', small)
    with pytest.raises(DataError, match=r'say how many there are \(num_images\)'):
        draw_schedule(config)
    config.train_cfg.max_epochs, config.param_scheduler.warmup_epochs = 2, 1
    drawing = draw_schedule(config, num_images=1_281_167)
    assert drawing.note.endswith('624 steps, 312 an epoch')
    assert drawing.title.startswith('Learning rate of mae_vit-base-p16')
    assert len(re.findall(r'<path d="M\d', drawing.svg)) > 1


def test_no_training_and_other_loops():
    with pytest.raises(ConfigError, match='train_dataloader is missing'):
        draw_schedule(load_config('vit-mini-p4_knn-1xb360_digits-16'))
    loop = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)
    with pytest.raises(ConfigError, match=r"type must be 'TrainLoop', not 'Epoch"):
        draw_schedule(load_config(PRETRAIN, {'train_cfg': loop}))


@pytest.mark.parametrize('number', [0, -1, 1.5])
def test_numbers_of_images_that_are_none(number):
    with pytest.raises(ValueError, match='num_images must be a whole number from 1 on'):
        draw_schedule(PRETRAIN, num_images=number)


def test_a_run_without_length_and_a_schedule_of_a_metric():
    with pytest.raises(ConfigError, match=r'train_cfg\.max_epochs must be at least 1, not 0'):
        draw_schedule(load_config(PRETRAIN, {'train_cfg.max_epochs': 0, 'param_scheduler': []}))
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss')]
    with pytest.raises(ConfigError, match='a ReduceOnPlateauLR follows a metric'):
        draw_schedule(load_config(PRETRAIN, {'param_scheduler': plateau}))


def test_masks_are_those_of_the_model():
    config = load_config(PRETRAIN)
    first = first_batch(config, 3, epoch=1)
    assert len(first.batch['ids']) == 3
    assert first.step == 22
    masked = training_inputs(config, first)
    model = MODELS.build(config.model)
    hidden = model.masker(model.encoder.grid_size, first.batch['keys']).dense()
    for image, crop, mask in zip(masked, first.batch['inputs'], hidden, strict=True):
        for number in range(16):
            y, x = 4 * (number // 4), 4 * (number % 4)
            expected = torch.full((1, 4, 4), 128) if mask[number] else crop[:, y : y + 4, x : x + 4]
            assert torch.equal(image[:, y : y + 4, x : x + 4], expected.to(torch.uint8))
    assert not torch.equal(first.batch['inputs'], first_batch(config, 3).batch['inputs'])


def test_sheets_of_batches():
    assert draw_batch(PRETRAIN, num=2).width == 3 * 168 + 8
    plain = load_config(FINETUNE)
    assert training_inputs(plain, first_batch(plain, 2)) is None
    assert draw_batch(plain, num=2).width == 2 * 168 + 8


def test_masks_of_16_bits():
    config = load_config(PRETRAIN)
    first = first_batch(config, 2)
    plain = training_inputs(config, first)
    deep = {**first.batch, 'inputs': first.batch['inputs'].to(torch.uint16) * 257}
    assert torch.equal(training_inputs(config, replace(first, batch=deep)), plain)


def test_a_config_that_trains_nothing():
    with pytest.raises(ConfigError, match='it has no train_dataloader'):
        draw_batch('vit-mini-p4_knn-1xb360_digits-16')


def test_models_whose_batches_are_not_drawn():
    config = load_config('vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img')
    with pytest.raises(ConfigError, match='not of Segmenter'):
        draw_batch(config)


def test_a_batch_of_16_bits(tmp_path):
    """The upper 8 bits are shown, and hidden patches are grey."""
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 65536, (24, 24)).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / f'{number}.png')
    config = load_config(PRETRAIN, {'global_batch_size': 2, 'train_dataloader.batch_size': 2})
    decode = dict(type='DecodeImage', channels=1, bits=16)
    crop = dict(type='DecodeRandomResizedCrop', size=16, scale=(0.5, 1.0), decode=decode)
    config.train_dataloader.dataset.source = dict(
        type='ImageFolder', root=str(tmp_path), labelled=False
    )
    config.train_dataloader.dataset.pipeline = [crop, dict(type='PackInputs')]
    masked = training_inputs(config, first_batch(config, 2))
    assert masked.dtype == torch.uint8
    assert (masked == 128).double().mean() > 0.7
    assert draw_batch(config, num=2).width == 3 * 168 + 8
