"""The user's mistakes: one clear line, exit code 1, and nothing half-written."""

import hashlib
import os

import pytest
import torch

TINY = 'train_dataloader.dataset.source.per_class=1'


@pytest.fixture
def refused(train, work_dir):
    """refused(*options, ...) is the error line of a training that must leave nothing behind."""

    def call(*options, **details):
        error = train(*options, **details).error
        assert not work_dir.exists()
        return error

    return call


def test_missing_data_folder(refused, images, tmp_path):
    gone = f'train_dataloader.dataset.source.root={tmp_path / "gone"}'
    assert f'{tmp_path / "gone"}: no such folder' in refused(gone, text=images[1])


def test_empty_data_folder(refused, images, tmp_path):
    (tmp_path / 'empty').mkdir()
    empty = f'train_dataloader.dataset.source.root={tmp_path / "empty"}'
    assert f'{tmp_path / "empty"}: no class folders' in refused(empty, text=images[1])


def test_class_folder_without_images(refused, images):
    root, text = images
    for path in root.rglob('*.png'):
        path.unlink()
    assert f'{root}: no images' in refused(text=text)


@pytest.mark.parametrize('workers', [0, 1])
def test_image_that_cannot_be_decoded(refused, images, workers):
    root, text = images
    for path in root.rglob('*.png'):
        path.write_bytes(path.read_bytes()[:60])
    error = refused(f'train_dataloader.num_workers={workers}', text=text)
    assert str(root / 'class') in error
    assert '.png' in error


def test_image_size_not_divisible_by_patch(refused):
    error = refused('model.encoder.img_size=18')
    assert 'error: model.encoder.img_size=18x18 is not divisible by encoder.patch_size=4' in error


@pytest.mark.parametrize('patch_size', [0, -4])
def test_patch_without_pixels(refused, patch_size):
    error = refused(f'model.encoder.patch_size={patch_size}')
    assert f'is not divisible by encoder.patch_size={patch_size}' in error


@pytest.mark.parametrize(
    ('options', 'which'),
    [(['optim_wrapper.optimizer.lr=1e-3'], 'both'), (['base_lr=None'], 'neither of them')],
)
def test_learning_rate_that_is_not_stated_once(refused, options, which):
    assert f'base_lr and optim_wrapper.optimizer.lr are {which} set' in refused(*options)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model=None', 'model is missing'),
        ('optim_wrapper.optimizer=None', 'optim_wrapper.optimizer is missing'),
        ('train_dataloader.dataset=None', 'incomplete: dataset is missing'),
        ('train_dataloader.batch_size=None', 'train_dataloader.batch_size must be int, not None'),
    ],
)
def test_what_cannot_be_left_out(refused, option, message):
    assert message in refused(option)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('base_lr=nan', 'base_lr must be a number from 0 up, not nan'),
        ('base_lr=inf', 'base_lr must be a number from 0 up, not inf'),
        ('base_lr=-1', 'base_lr must be a number from 0 up, not -1'),
        ('randomness.seed=-1', 'randomness.seed must lie in 0..4294967295, not -1'),
        (
            'optim_wrapper.optimizer.weight_decay=-1',
            'optim_wrapper.optimizer: Invalid weight_decay',
        ),
        ('train_dataloader.batch_size=0', 'train_dataloader: batch_size must be at least 1, not 0'),
        ('train_dataloader.num_workers=-1', 'train_dataloader: num_workers must be at least 0'),
        ('train_dataloader.prefetch_factor=0', 'prefetch_factor must be at least 1, not 0'),
        ('model.encoder.img_size=0', 'model.encoder.img_size must be at least 1, not 0x0'),
        ('model.encoder.in_channels=0', 'model.encoder.in_channels must be at least 1, not 0'),
        (
            'model.encoder.arch=dict(embed_dim=8, depth=0, num_heads=2)',
            "model.encoder.arch needs numbers of at least 1, not {'embed_dim': 8, 'depth': 0,",
        ),
        ('model.decoder.num_heads=0', 'model.decoder: a width of 64 does not split into 0 heads'),
        ('model.decoder.num_heads=5', 'model.decoder: a width of 64 does not split into 5 heads'),
        ('model.decoder.embed_dim=50', 'model.decoder: sine-cosine positions need a width'),
    ],
)
def test_number_out_of_range(refused, option, message):
    assert f' {message}' in refused(option)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('cuda_graph=True', 'cuda_graph=True needs a GPU, and torch sees none'),
        ('compile=dict(mode="fast")', 'compile.mode must be one of default, '),
        (
            'model.encoder.attention_backend=cudnn',
            "attention_backend='cudnn' needs a GPU; on a CPU",
        ),
        ('optim_wrapper.amp=float8', "optim_wrapper.amp must be 'bfloat16' or 'float16' or None"),
        ('eval_amp=float8', 'eval_amp'),
    ],
)
def test_what_this_device_does_not_have(refused, option, message):
    error = refused(option)
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize('ratio', [0, 1, 1.5, -0.5])
def test_mask_ratio_out_of_range(refused, ratio):
    assert 'mask_ratio' in refused(f'model.masker.mask_ratio={ratio}')


def test_mask_that_leaves_no_patch(refused):
    assert 'mask_ratio' in refused('model.masker.mask_ratio=0.99')


def test_unknown_type(refused):
    error = refused(text="model = dict(encoder=dict(type='VitEncoder'))")
    assert "'VitEncoder' at model.encoder.type; did you mean ViTEncoder?" in error


def test_unknown_key(refused):
    error = refused(text='train_dataloader = dict(dataset=dict(source=dict(imgsize=16)))')
    assert 'did you mean train_dataloader.dataset.source.img_size?' in error


def test_images_of_other_channels_than_the_model(refused):
    error = refused('model.preprocessor.mean=[1,2,3]', 'model.preprocessor.std=[1,2,3]')
    assert 'images have 1 channel, preprocessor.mean has 3 numbers' in error


def test_source_in_place_of_a_dataset(refused):
    error = refused(text="train_dataloader = dict(dataset=dict(_delete_=True, type='Digits'))")
    assert 'Digits takes no (sample id, key)' in error
    assert "type='SeededDataset'" in error


def test_warm_up_of_negative_length(refused):
    assert 'param_scheduler.warmup_epochs must not be negative' in refused(
        'param_scheduler.warmup_epochs=-1'
    )


def test_misspelt_option(refused):
    error = refused('optim_wrapper.optimzer.lr=1')
    assert 'unknown key optim_wrapper.optimzer' in error
    assert 'did you mean optim_wrapper.optimizer?' in error


def test_option_that_is_no_assignment(refused):
    assert 'takes KEY=VALUE' in refused('base_lr')


def test_required_argument_left_out(refused):
    text = "model = dict(head=dict(_delete_=True, type='LinearHead'))"
    assert 'num_classes' in refused(text=text, base='ft')


def test_no_such_config(tool):
    error = tool('train', 'mae_vit-base-p16_8xb512-amp-coslr-40e_in1k').error
    assert 'no such config' in error
    assert 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k' in error


def test_dataset_smaller_than_one_batch(refused):
    big = 'global_batch_size=32', 'train_dataloader.batch_size=32'
    error = refused(TINY, *big, base='ft')
    assert '10 samples, less than one global batch of 32' in error


def test_global_batch_that_does_not_fit(refused):
    error = refused('global_batch_size=0', 'train_dataloader.batch_size=32')
    assert 'more processes than samples of a batch: 1 and global_batch_size=0' in error


def test_checkpoint_of_another_shape(refused, checkpoint):
    wider = 'model.encoder.arch.embed_dim=32'
    error = refused(wider, arguments=['--load-from', checkpoint()])
    assert 'encoder.cls_token is (1, 1, 16) there and (1, 1, 32) here' in error
    assert 'ViT/4 (16 wide, 1 block), 1 channel, 16 patches' in error
    assert error.rstrip().endswith('decoder 64 wide, 1 block')


def test_decoder_of_other_patches_starts_fresh(train, checkpoint):
    result = train('model.encoder.patch_size=2', arguments=['--load-from', checkpoint()])
    assert result.code == 0
    # The projection of the patches is fitted; what the decoder predicts cannot be.


def test_no_such_checkpoint(refused, tmp_path):
    gone = tmp_path / 'gone.pth'
    assert f'no such checkpoint: {gone}' in refused(arguments=['--load-from', gone])


def test_checkpoint_that_is_none(refused, tmp_path):
    path = tmp_path / 'text.pth'
    path.write_text('not weights')
    assert f'{path} is not a readable checkpoint' in refused(arguments=['--load-from', path])


def test_resume_from_weights_only(refused, checkpoint):
    error = refused(arguments=['--resume', checkpoint()])
    assert 'it holds weights only' in error


def test_training_with_a_config_that_only_tests(tool, write_config, work_dir):
    error = tool('train', write_config(base='knn'), '--work-dir', work_dir).error
    assert '`mae test`' in error
    assert not work_dir.exists()


def test_testing_with_a_config_that_only_trains(tool, write_config, checkpoint, work_dir):
    error = tool('test', write_config(), checkpoint(), '--work-dir', work_dir).error
    assert 'test_dataloader' in error
    assert not work_dir.exists()


def test_test_of_a_checkpoint_of_another_shape(tool, write_config, checkpoint, work_dir):
    weights = checkpoint('ft')
    wider = '--cfg-options', 'model.encoder.arch.embed_dim=32', 'model.head.num_classes=7'
    config = write_config(base='ft')
    error = tool('test', config, weights, '--work-dir', work_dir, *wider).error
    assert f'{weights} is of another shape' in error
    assert not work_dir.exists()


FOLDERS = """
global_batch_size = 4
train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='SeededDataset',
    source=dict(type='ImageFolder', root={root!r}{more}),
    pipeline=[dict(type='DecodeImage', channels=1), dict(type='RandomResizedCrop', size=16),
              dict(type='PackInputs')]))
"""


def test_class_folders_that_differ_between_training_and_validation(refused, images):
    root, _ = images
    error = refused(text=FOLDERS.format(root=str(root), more=''), base='ft')
    assert "val_dataloader.dataset: class 0 is '0', but 'class0'" in error


def test_labels_outside_the_classes_of_the_head(refused):
    error = refused('model.head.num_classes=7', base='ft')
    assert 'head.num_classes=7 takes labels 0..6' in error


def test_images_without_labels(refused, images):
    text = FOLDERS.format(root=str(images[0]), more=', labelled=False')
    assert 'has label -1, but model.head.num_classes=10' in refused(text=text, base='ft')


def test_label_file_that_does_not_match(refused, images):
    root, _ = images
    (root / 'list.txt').write_text('class0/0.png 1\nclass1/1.png 0\n')
    text = FOLDERS.format(root=str(root), more=", list_file='list.txt'")
    error = refused(text=text, base='ft')
    assert 'list.txt: class0/0.png has label 1, ' in error


def test_more_of_each_class_than_there_are(refused):
    error = refused('train_dataloader.dataset.source.per_class=500', base='ft')
    assert 'Subset: per_class=500 must lie in 1..' in error


def test_more_neighbours_than_images(tool, write_config, checkpoint, work_dir):
    options = '--work-dir', work_dir, '--cfg-options', 'test_cfg.k=1438'
    error = tool('test', write_config(base='knn'), checkpoint(), *options).error
    assert 'test_cfg.k=1438 must lie between 1 and the 1437 ' in error


def test_probe_on_a_checkpoint_without_an_encoder(refused, tmp_path):
    path = tmp_path / 'head.pth'
    torch.save({'state_dict': {'head.fc.bias': torch.zeros(10)}}, path)
    options = 'model.trainable_blocks=0', 'model.encoder.trainable_pos=False'
    error = refused(*options, base='ft', arguments=['--load-from', path])
    assert f'{path} has no encoder: ' in error
    assert 'head; expected encoder.*' in error


@pytest.mark.parametrize('blocks', [-1, 0.25, 2])
def test_blocks_to_train_that_there_are_not(refused, blocks):
    error = refused(f'model.trainable_blocks={blocks}', base='ft')
    assert 'model.trainable_blocks must be 0, 0.5 or ' in error


def test_mixup_of_a_single_image(refused):
    text = 'model = dict(preprocessor=dict(mixup=dict(mixup_alpha=0.8, num_classes=10)))'
    sizes = 'train_dataloader.batch_size=1', 'global_batch_size=1'
    error = refused(*sizes, text=text, base='ft')
    assert 'this one holds 1; make train_dataloader.batch_size at least 2' in error


def test_checkpoint_that_would_run_code(refused, tmp_path):
    path, canary = tmp_path / 'evil.pth', tmp_path / 'canary'
    torch.save({'state_dict': {'w': torch.zeros(2)}, 'meta': Gadget(canary)}, path)
    error = refused(arguments=['--load-from', path])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f'{path} refused: it asks to run posix.system' in error
    assert f'--trust-checkpoint {sha256}' in error
    other = refused(arguments=['--load-from', path, '--trust-checkpoint', '0' * 64])
    assert other == error
    assert not canary.exists()
    trusted = refused(arguments=['--load-from', path, '--trust-checkpoint', sha256])
    assert canary.exists()
    assert 'is no ViT or MAE' in trusted  # it has been read


class Gadget:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f'touch {self.canary}',)


def test_resuming_anyway_with_what_there_is_not(refused):
    error = refused(arguments=['--resume', '--resume-anyway', 'sed'])
    assert 'resume_anyway' in error
    assert 'seed' in error
