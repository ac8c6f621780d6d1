"""A warm-up at low resolution: 8x8 digits as 4x4, four patches of 2x2 instead of sixteen."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.utils.errors import ConfigError


def options(epochs=2, img_size=4, **changes):
    hook = dict(type='LowResolutionHook', epochs=epochs, img_size=img_size)
    return {'custom_hooks': [hook], 'train_cfg.max_epochs': 3, **changes}


class Recorder(Hook):
    """Size and number of patches of each step and, `True`, of what follows an epoch; the loss."""

    priority = 'LOW'

    def __init__(self):
        self.sizes = []
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.note(runner, False)
        self.losses.append(outputs['loss'].item())

    def after_train_epoch(self, runner):
        self.note(runner, True)

    def note(self, runner, evaluates):
        encoder = runner.model.encoder
        assert runner.model.decoder.grid_size == encoder.grid_size
        self.sizes.append((*encoder.img_size, encoder.grid_size[0] * encoder.grid_size[1]))
        assert not evaluates or self.sizes.pop() == (8, 8, 16)


def trained(runner):
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder


def test_first_epochs_are_small_and_what_follows_an_epoch_is_not(make_runner):
    whole = trained(make_runner('whole', options()))
    assert whole.sizes == [(4, 4, 4)] * 10 + [(8, 8, 16)] * 5
    plain = trained(make_runner('plain', {'train_cfg.max_epochs': 2})).losses
    assert whole.losses[0] != plain[0]


@pytest.mark.parametrize('stop', [3, 10], ids=['within', 'at the end'])
def test_resumes_as_if_uninterrupted(make_runner, stop):
    changes = options(
        **{'default_hooks.checkpoint': dict(interval=stop, by_epoch=False, max_keep=-1)}
    )
    whole = make_runner('whole', changes)
    expected = trained(whole)
    work_dir = Path(whole.work_dir).with_name('resumed')
    work_dir.mkdir()
    start = Path(whole.work_dir) / f'iter_{stop}.pth'
    shutil.copy(start, work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / start.name))
    resumed = make_runner('resumed', {**changes, 'resume': True})
    found = trained(resumed)
    assert (found.losses, found.sizes) == (expected.losses[stop:], expected.sizes[stop:])
    weights = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize(
    ('size', 'reason'),
    [
        (3, r'encoder\.img_size=3x3 is not divisible by encoder\.patch_size=2'),
        (8, r'[^\n]*8x8 cannot be shrunk to 8'),
        (16, r'[^\n]*8x8 cannot be shrunk to 16'),
        (2, r'masker\.mask_ratio=0\.75 leaves 0 of 1 patches visible; [^\n]*'),
    ],
)
def test_size_that_cannot_be(make_runner, size, reason):
    runner = make_runner(changes=options(img_size=size))
    with pytest.raises(ConfigError, match=rf'^LowResolutionHook\.img_size={size}: {reason}$'):
        runner.train()
    assert runner.model.encoder.img_size == (8, 8)


def test_images_of_another_size_are_refused_at_once(make_runner):
    crop = [dict(type='RandomResizedCrop'), dict(type='PackInputs')]
    runner = make_runner(changes=options(**{'train_dataloader.dataset.pipeline': crop}))
    runner.train_dataloader.dataset.pipeline[0].size = (6, 6)  # as of a crop that is not ours
    with pytest.raises(ValueError, match=r'^the images are 6x6, but encoder.img_size is 8x8: '):
        runner.train()


def test_number_of_epochs(make_runner):
    with pytest.raises(ConfigError, match=r'^LowResolutionHook\.epochs must be at least 1, not 0$'):
        make_runner(changes=options(epochs=0))
    runner = make_runner('long', options(epochs=2, **{'train_cfg.max_epochs': 2}))
    runner.train()
    (log,) = Path(runner.work_dir).glob('*/*.log')
    assert re.search(r'never .* full size', log.read_text())
