"""Runs so small that a test may examine several: noise of 20x24 pixels, three classes."""

import itertools

import numpy as np
import pytest
from mmengine.config import Config

import mae.datasets
import mae.evaluation
import mae.models
from mae.doctor.environment import Host
from tests.own_images import save
from tests.small_run import OPTIM_WRAPPER, SMALL_RUN

assert mae.datasets
assert mae.evaluation
assert mae.models

_NUMBER = itertools.count()
GIB = 1 << 30


@pytest.fixture
def host(tmp_path):
    """A machine with room for everything."""

    def make(**changes):
        facts = dict(device='cpu', gpus=(), cores=4, memory=8 * GIB, shared=GIB, disk=100 * GIB)
        return Host(**facts | changes, work_dir=tmp_path / 'run')

    return make


def class_folders(folder, each=10, names=('ant', 'bee', 'cat'), level=128.0):
    """Images of a colour for each class, under noise."""
    draw = np.random.default_rng(0)
    for name in names:
        pattern = draw.normal(0, 40, (5, 6, 3)).repeat(4, 0).repeat(4, 1)
        for index in range(each):
            pixels = level + pattern + draw.normal(0, 30, pattern.shape)
            save(folder / name / f'{name}{index}.png', pixels.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def photos(tmp_path):
    return class_folders(tmp_path / 'photos')


@pytest.fixture
def pretraining(photos, tmp_path):
    """A pre-training on `photos`; `changes` are dotted config keys."""

    def make(**changes):
        decode = dict(type='DecodeRandomResizedCrop', scale=(0.5, 1.0))
        config = dict(
            default_scope='mae',
            base_lr=4e-3,
            global_batch_size=8,
            model=dict(
                type='MAE',
                preprocessor=dict(type='ImagePreprocessor', mean=[128.0] * 3, std=[50.0] * 3),
                encoder=dict(
                    type='ViTEncoder',
                    arch=dict(embed_dim=64, depth=6, num_heads=2),
                    img_size=16,
                    patch_size=4,
                ),
                masker=dict(type='RandomMasker'),
                decoder=dict(type='TransformerDecoder', embed_dim=32, depth=1, num_heads=2),
                target=dict(type='PixelTarget'),
                loss=dict(type='MaskedMSELoss'),
            ),
            train_dataloader=dict(
                batch_size=8,
                num_workers=0,
                sampler=dict(type='GlobalBatchSampler'),
                collate_fn=dict(type='collate'),
                dataset=dict(
                    type='SeededDataset',
                    source=dict(type='ImageFolder', root=str(photos), labelled=False),
                    pipeline=[decode, dict(type='PackInputs')],
                ),
            ),
            **SMALL_RUN,
            optim_wrapper=OPTIM_WRAPPER,
            train_cfg=dict(type='TrainLoop', max_epochs=10),
            work_dir=str(tmp_path / 'run'),
        )
        config = Config(config)
        config.merge_from_dict(changes)
        return config

    return make


@pytest.fixture
def finetuning(pretraining, photos):
    """A classifier of the folders of `photos`, which also validates on them."""

    def make(**changes):
        config = pretraining()
        for part in ('masker', 'decoder', 'target'):
            config.model.pop(part)
        config.model.type = 'Classifier'
        config.model.head = dict(type='LinearHead', num_classes=3)
        config.model.loss = dict(type='CrossEntropyLoss')
        config.train_dataloader.dataset.source = dict(type='ImageFolder', root=str(photos))
        config.merge_from_dict(changes)
        return config

    return make
