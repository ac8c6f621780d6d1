"""A resumed run of colour images, whose patch projection has its channels last in memory."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.engine.conftest import PREPROCESSOR

COLOUR = {
    'model.preprocessor': dict(PREPROCESSOR, mean=[78.0] * 3, std=[96.0] * 3),
    'model.encoder.in_channels': 3,
    'train_dataloader.dataset.pipeline': [
        dict(type='DecodeImage', channels=3),
        dict(type='RandomFlip'),
        dict(type='PackInputs'),
    ],
    'train_cfg.max_epochs': 2,
    'default_hooks.checkpoint': dict(interval=4, by_epoch=False, max_keep=-1),
}


@pytest.mark.parametrize('fused', [True, False])
def test_colour_images_resume_to_the_same_bits(make_runner, fused):
    changes = {**COLOUR, 'optim_wrapper.optimizer.fused': fused}
    whole = make_runner('whole', changes)
    whole.train()
    path = Path(whole.work_dir).with_name('iter_4.pth')
    shutil.copy(Path(whole.work_dir) / path.name, path)
    resumed = make_runner('resumed', {**changes, 'resume': True, 'load_from': str(path)})
    resumed.train()
    assert resumed.iter == whole.iter == 10
    weights = whole.model.state_dict()
    assert not weights['encoder.patch_embed.proj.weight'].is_contiguous()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
