"""`mae pretrain` and `mae finetune` on folders of small images: what is trained or refused."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mae.apis import ImageClassifierInferencer, finetune, load_config, pretrain
from mae.apis import test as evaluate
from mae.apis.own_classes import write_finetuning
from mae.apis.own_data import write_pretraining
from mae.apis.recipe_rules import Given
from mae.datasets import collate
from mae.registry import DATASETS
from mae.utils.errors import CheckpointError, ConfigError, DataError
from tests.image_bytes import png16
from tests.own_images import colours, noise, save

SMALL = {'epochs': 1, 'batch_size': 8}
NOTHING = Given()


@pytest.fixture(scope='module')
def places(tmp_path_factory):
    """Images of two classes, one of which is broken, and the work dir of a pre-training on them."""
    root = tmp_path_factory.mktemp('own') / 'my photos ä雪'
    colours(root / 'cat', 12)
    colours(root / 'dog', 12)
    (root / 'dog' / '005.png').write_bytes(b'')
    out = root.parent / 'run'
    pretrain(root, out, **SMALL)
    return root, out


@pytest.fixture(scope='module')
def tuned(places):
    root, out = places
    finetune(root, out / 'epoch_1.pth', root.parent / 'tuned', **SMALL)
    return root.parent / 'tuned'


def test_it_trains_from_the_config_that_it_writes(places):
    root, out = places
    saved = torch.load(out / 'epoch_1.pth', weights_only=True)
    assert saved['meta']['step'] == 23 // 8
    config = load_config(out / 'config/pretrain.py')
    assert config.work_dir == str(out)
    assert config.model.encoder.img_size == 16
    assert config.train_dataloader.dataset.source.root == str(root)
    listed = (out / 'config/unreadable.jsonl').read_text()
    assert '005.png' in listed
    assert listed.count('\n') == 1
    assert not (out / 'bad_samples.jsonl').exists()


def test_the_config_says_why(places):
    _, out = places
    text = (out / 'config/pretrain.py').read_text()
    assert '24 images.' in text
    for reason in (
        "lr 0.00011: the paper's 0.0024 x (8 / 4,096) ** .5",
        'half of the images have a side of 20 or more',
        '16 patches, of which a quarter is seen',
        '1 that cannot be read',
    ):
        assert f'# {reason}\n' in text
    assert len(text.splitlines()) <= 40


def test_fine_tuning_takes_the_encoder_and_holds_images_out(tuned, places):
    root, _ = places
    config = load_config(tuned / 'config/finetune.py')
    assert config.model.encoder.arch == 'tiny'
    assert config.model.encoder.patch_size == 4
    assert config.model.head.num_classes == 2
    assert config.model.preprocessor.mixup is None
    assert 'mean=' not in (tuned / 'config/finetune.py').read_text()
    metrics = evaluate(config, tuned / 'epoch_1.pth')
    assert metrics['num_samples'] == 4  # of 12 + 12, a fifth of each, one of which is broken or not
    assert str(root) in (tuned / 'config/finetune.py').read_text()


def test_the_same_again_is_the_same_and_an_edited_config_stays(places, capsys):
    root, out = places
    path = out / 'config/pretrain.py'
    given = Given(**SMALL)
    text = path.read_text()
    assert write_pretraining(root, out, given) == path
    assert path.read_text() == text
    with pytest.raises(ConfigError, match=r'pretrain\.py exists already, with other values: '):
        write_pretraining(root, out, Given(**SMALL, arch='small'))
    assert path.read_text() == text
    assert 'warning: cannot be read and is left out: ' in capsys.readouterr().out


@pytest.mark.parametrize('resume', [False, True])
def test_a_run_is_continued_where_asked(places, monkeypatch, resume):
    root, out = places
    monkeypatch.setattr('mae.apis.own_data.train', lambda config: config)
    config = pretrain(root, out, **SMALL, resume=resume)
    assert (config.resume, config.work_dir) == (resume, str(out))
    tuned, weights = root.parent / 'other', out / 'epoch_1.pth'
    config = finetune(root, weights, tuned, **SMALL, resume=resume)
    assert config.load_from == (None if resume else str(weights))


def test_grey_images_make_a_model_of_one_channel(tmp_path):
    for index in range(16):
        save(tmp_path / 'grey' / f'{index}.png', noise(40, 40, 1, seed=index))
    config = load_config(write_pretraining(tmp_path / 'grey', tmp_path / 'out', NOTHING))
    assert config.model.encoder.in_channels == 1
    assert config.model.preprocessor.mean == pytest.approx([127.5], abs=2)
    assert config.train_dataloader.dataset.pipeline[0].decode.channels == 1


def test_arrays_of_five_channels(tmp_path):
    for index in range(16):
        name = 'ab'[index % 2]
        save(tmp_path / 'bands' / name / f'{index}.npy', noise(20, 20, 5, seed=index))
    runner = pretrain(tmp_path / 'bands', tmp_path / 'out', **SMALL)
    assert runner.bare_model.encoder.in_channels == 5
    assert len(runner.bare_model.data_preprocessor.mean.flatten()) == 5
    given = Given(batch_size=4)
    checkpoint = tmp_path / 'out/epoch_1.pth'
    with pytest.raises(DataError, match=r'^12 images to train on are too few'):
        write_finetuning(tmp_path / 'bands', checkpoint, tmp_path / 'tuned', given)
    for index in range(16, 24):
        save(tmp_path / 'bands/b' / f'{index}.npy', noise(20, 20, 5, seed=index))
    path = write_finetuning(tmp_path / 'bands', checkpoint, tmp_path / 'tuned', given)
    config = load_config(path)
    assert config.model.encoder.in_channels == 5
    assert config.val_dataloader.dataset.pipeline[0].channels == 5
    assert config.val_dataloader.dataset.source.source.extensions == ['.npy']
    assert len(config.model.preprocessor.mean) == 5


def dim(folder, number):
    """16-bit PNGs in colour of which the lowest 10 bits alone are used."""
    folder.mkdir(parents=True)
    for index in range(number):
        pixels = noise(20, 24, 3, index, np.uint16) >> 6
        (folder / f'{index:02}.png').write_bytes(png16(pixels))


def test_16_bits_are_kept_from_the_file_to_the_prediction(tmp_path, capsys):
    dim(tmp_path / 'dim/a', 12)
    dim(tmp_path / 'dim/b', 12)
    runner = pretrain(tmp_path / 'dim', tmp_path / 'out', **SMALL)
    assert '24 with 16 bits, all of which are kept' in capsys.readouterr().out
    written = load_config(tmp_path / 'out/config/pretrain.py')
    images = DATASETS.build(written.train_dataloader.dataset)
    batch = collate([images[index] for index in range(24)])
    assert batch['inputs'].dtype == torch.uint16
    inputs = runner.bare_model.data_preprocessor(batch)['inputs']
    assert (float(inputs.mean()), float(inputs.std())) == pytest.approx((0, 1), abs=0.3)
    checkpoint = tmp_path / 'out/epoch_1.pth'
    path = write_finetuning(tmp_path / 'dim', checkpoint, tmp_path / 'tuned', NOTHING)
    config = load_config(path)
    assert config.val_dataloader.dataset.pipeline[0].bits == 16
    assert config.model.preprocessor.mean[0] < 3
    assert [t.type for t in config.train_dataloader.dataset.pipeline][1:] == [
        'RandomFlip',
        'PackInputs',
    ]
    inferencer = ImageClassifierInferencer(config, pretrained=False)
    tested = DATASETS.build(config.val_dataloader.dataset)
    assert tested[0]['inputs'].dtype == torch.uint16
    assert torch.equal(inferencer.read(tested.name(0)), tested[0]['inputs'])


def test_dark_images_of_16_bits_have_statistics_of_their_own(tmp_path, places):
    dim(tmp_path / 'dim/a', 12)
    dim(tmp_path / 'dim/b', 12)
    checkpoint = places[1] / 'epoch_1.pth'  # of images of 8 bits
    config = load_config(write_finetuning(tmp_path / 'dim', checkpoint, tmp_path / 'o', NOTHING))
    assert config.model.preprocessor.std == pytest.approx([1024 / 257 / 12**0.5] * 3, abs=0.1)
    assert 'RandAugment' not in str(config.train_dataloader.dataset.pipeline)


def test_of_splits_training_takes_one_and_validation_another(tmp_path, places):
    for split, number in (('train', 9), ('valid', 3)):
        for name in ('cat', 'dog'):
            colours(tmp_path / 'data' / split / name, number)
    checkpoint = places[1] / 'epoch_1.pth'
    config = load_config(write_finetuning(tmp_path / 'data', checkpoint, tmp_path / 'o', NOTHING))
    assert config.train_dataloader.dataset.source.split == 'train'
    assert config.val_dataloader.dataset.source.split == 'valid'
    assert config.test_dataloader == config.val_dataloader
    pretraining = load_config(write_pretraining(tmp_path / 'data', tmp_path / 'p', NOTHING))
    assert pretraining.train_dataloader.dataset.source.split == 'train'


def nothing(root):
    root.mkdir()


def two(root):
    colours(root, 2)


def tiny(root):
    colours(root, 20, height=3, width=3)


def loose(root):
    colours(root, 20)


def one_class(root):
    colours(root / 'cat', 20)


def one_image(root):
    colours(root / 'cat', 20)
    colours(root / 'dog', 1)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda root: None, 'photos does not exist: give a folder of images$'),
        (lambda root: root.write_text(''), 'photos is a file: give a folder of images$'),
        (nothing, r'photos: no images; expected files ending in '),
        (two, '^2 images are too few to learn from: give 16 or more'),
        (tiny, '^half of the images have a shorter side of 3 pixels or less, too small '),
    ],
)
def test_folders_that_cannot_be_learned_from(tmp_path, make, message):
    make(tmp_path / 'photos')
    with pytest.raises(DataError, match=message) as error:
        pretrain(tmp_path / 'photos', tmp_path / 'out')
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (loose, 'photos: no class folders: put the images of each class into a folder '),
        (one_class, 'photos: one class folder, cat: to tell classes apart '),
        (one_image, 'photos: dog has one image or none: give 2 or more images of each class'),
    ],
)
def test_folders_without_classes_to_learn(tmp_path, places, make, message):
    make(tmp_path / 'photos')
    with pytest.raises(DataError, match=message):
        finetune(tmp_path / 'photos', places[1] / 'epoch_1.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def no_such_class(root):
    for name in ('train/cat', 'train/dog', 'val/cat', 'val/fox'):
        colours(root / name, 10)


def no_classes_to_validate(root):
    for name in ('train/cat', 'train/dog', 'val'):
        colours(root / name, 10)


def no_other_split(root):
    for name in ('train/cat', 'train/dog'):
        colours(root / name, 10)


def unreadable_class(root):
    for path in colours(root / 'cat', 20).iterdir():
        save(root / 'dog' / path.name, noise(20, 24)).write_bytes(b'')


def arrays(root):
    for index in range(20):
        save(root / 'ab'[index % 2] / f'{index}.npy', noise(20, 20, 5, seed=index))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (no_such_class, r'photos/val: no such class in \S+/photos/train: fox: '),
        (no_classes_to_validate, 'photos/val: no class folders: put the images of each class '),
        (no_other_split, 'if the classes are the folders in train, give .*/photos/train; '),
        (unreadable_class, 'photos: dog has one image or none: '),
        (arrays, 'photos: images of 5 channels, but the weights take 3: '),
    ],
)
def test_what_a_fine_tuning_would_stop_at_is_refused_before(tmp_path, places, make, message):
    make(tmp_path / 'photos')
    with pytest.raises(DataError, match=message):
        write_finetuning(tmp_path / 'photos', places[1] / 'epoch_1.pth', tmp_path / 'out', NOTHING)
    assert not (tmp_path / 'out').exists()


def test_classes_of_numbers_are_in_their_order(tmp_path, places):
    for number in range(11):
        colours(tmp_path / 'digits/train' / str(number), 2)
        colours(tmp_path / 'digits/val' / str(number), 1)
    checkpoint = places[1] / 'epoch_1.pth'
    path = write_finetuning(tmp_path / 'digits', checkpoint, tmp_path / 'out', NOTHING)
    config = load_config(path)
    for loader in (config.train_dataloader, config.val_dataloader):
        source = DATASETS.build(loader.dataset.source)
        for info in map(source.get_data_info, range(len(source))):
            assert info['gt_label'] == int(Path(info['img_path']).parent.name)
        assert loader.dataset.source.classes == [str(number) for number in range(11)]


def test_the_folder_of_a_run_is_no_checkpoint(tmp_path, places):
    root, out = places
    message = f'is the folder of a run: give its newest checkpoint, {re.escape(str(out))}/epoch_1'
    with pytest.raises(CheckpointError, match=message):
        write_finetuning(root, out, tmp_path / 'out', NOTHING)


@pytest.mark.parametrize(
    ('data', 'out', 'message'),
    [
        ('photos', 'photos/run', 'photos/run lies among the images, and would be taken for '),
        ('photos', 'file', 'file is no folder; give another work dir$'),
        ('photos', 'file/run', r'file/run would lie in \S+/file, which is no folder; '),
        ('photos', 'run\udcff', r'run\\udcff is no name in UTF-8; give another work dir'),
        ('photos\udcff', 'run', r'photos\\udcff: the name is not UTF-8: rename the folder$'),
    ],
)
def test_places_that_no_run_can_have(tmp_path, data, out, message):
    (tmp_path / 'file').touch()
    colours(tmp_path / data, 16)
    with pytest.raises((DataError, ConfigError), match=message):
        pretrain(tmp_path / data, tmp_path / out)
    assert not (tmp_path / out).is_dir()


def test_a_place_that_may_not_be_written(tmp_path, monkeypatch):
    colours(tmp_path / 'photos', 16)
    monkeypatch.setattr(os, 'access', lambda *_: False)  # root may write anywhere
    message = (
        f'{tmp_path}/out would lie in {tmp_path}, which may not be written; give another work dir'
    )
    with pytest.raises(ConfigError, match=f'^{re.escape(message)}$'):
        pretrain(tmp_path / 'photos', tmp_path / 'out')
