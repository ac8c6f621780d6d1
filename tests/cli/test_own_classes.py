"""The documented way to train on one's own classes: photos, and a file that says what differs.

270 crops of scikit-learn's and scikit-image's photos in 3 classes, outside of the checkout.
"""

import random

import pytest
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

from mae.apis import load_config, train
from mae.apis import test as evaluate
from mae.utils.errors import ConfigError, DataError

HEAD = """
_base_ = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'

model = dict(
    encoder=dict(arch=dict(embed_dim=32, depth=2, num_heads=2), img_size=64),
    head=dict(num_classes=3),
)
train_cfg = dict(max_epochs=2)
"""
SPLIT = """
photos = dict(root='photos')
train_dataloader = dict(num_workers=0, dataset=dict(source=photos))
val_dataloader = dict(num_workers=0, dataset=dict(source=photos))
test_dataloader = val_dataloader
"""
FLAT = """
folder = dict(type='ImageFolder', root='photos')
photos = dict(_delete_=True, type='Subset', source=folder, fraction=0.8)
train_dataloader = dict(num_workers=0, dataset=dict(source=photos))
val_dataloader = dict(num_workers=0, dataset=dict(source=dict(**photos, others=True)))
test_dataloader = val_dataloader
"""


@pytest.fixture(scope='module')
def crops():
    """Name and pictures of each class."""
    china, flower = load_sample_images().images
    rng = random.Random(0)
    found = {}
    for name, pixels in (('china', china), ('flower', flower), ('cat', data.chelsea())):
        photo = Image.fromarray(pixels)
        found[name] = []
        for _ in range(90):
            side = rng.randint(60, 120)
            x, y = rng.randint(0, photo.width - side), rng.randint(0, photo.height - side)
            found[name].append(photo.crop((x, y, x + side, y + side)))
    return found


@pytest.fixture
def start(crops, tmp_path, monkeypatch):
    """Writes the photos and the config, and loads it."""
    monkeypatch.chdir(tmp_path)

    def load(text, options=None, *, splits=True):
        for name, pictures in crops.items():
            for number, picture in enumerate(pictures):
                split = ('train' if number % 6 else 'val') if splits else '.'
                folder = tmp_path / 'photos' / split / name
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / f'{number}.jpg')
        path = tmp_path / 'configs/mine.py'
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + text)
        name = {'work_dir': 'run', 'experiment_name': tmp_path.name}  # mmengine's is the second
        return load_config(path, {**name, **(options or {})})

    return load


@pytest.mark.parametrize(('text', 'splits', 'held_out'), [(SPLIT, True, 45), (FLAT, False, 54)])
def test_train_and_evaluate(start, tmp_path, text, splits, held_out):
    config = start(text, {'global_batch_size': 32}, splits=splits)
    runner = train(config)
    assert runner.bare_model.data_preprocessor.mix._mixup.num_classes == 3
    assert runner.bare_model.head.num_classes == 3
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('cat', 'china', 'flower')
    assert len(runner.train_dataloader.dataset) == 270 - held_out
    metrics = evaluate(config, tmp_path / 'run/epoch_2.pth')
    assert metrics['num_samples'] == held_out
    assert metrics['top1'] >= 100 / 3
    (log,) = [path for path in tmp_path.glob('run/*/*.log') if 'tenth' in path.read_text()]
    assert 'param_scheduler.warmup_epochs=5 does not fit train_cfg.max_epochs=2' in log.read_text()


def test_fewer_images_than_a_step(start):
    message = (
        r'^train_dataloader: the dataset has 225 samples, less than one global batch of 1024; set '
        r'global_batch_size to 32, say, .* or train_dataloader\.sampler\.drop_last=False$'
    )
    with pytest.raises(ConfigError, match=message):
        train(start(SPLIT))


def test_a_folder_without_the_inherited_split(start):
    message = (
        r'^train_dataloader: photos/train: no such folder; photos has cat, china, flower; set '
        r"split='' if these are the classes, or move them to photos/train$"
    )
    with pytest.raises(DataError, match=message):
        train(start(SPLIT, splits=False))


def test_classes_that_the_head_does_not_have(start):
    options = {'global_batch_size': 32, 'model.head.num_classes': 2}
    message = (
        r'^train_dataloader\.dataset has 3 classes, but model\.head\.num_classes=2 takes labels '
        r'0\.\.1; set model\.head\.num_classes=3$'
    )
    with pytest.raises(ConfigError, match=message):
        train(start(SPLIT, options))
