"""The recipe linter: one broken config for each rule. All shipped ones: tests/repo."""

import re

import pytest

from mae.config import find_config
from mae.config.grammar import parse_name
from mae.config.lint import lint

FT = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
MAE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
KNN = 'vit-base-p16_knn-8xb512_in1k'
LINEAR = 'vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k'
HALF = 'vit-large-p16_ft-half-8xb128-amp-coslr-200e_in1k'
FEW = 'vit-base-p16_ft-8xb128-amp-coslr-200e_in1k-10pct'
IN_C = 'vit-base-p16_test-8xb128_in-c'
IN_A = 'vit-base-p16_test-8xb128_in-a'
IN_V2 = 'vit-large-p16_test-8xb128_in-v2'
IN_REAL = 'vit-huge-p14_test-8xb128_in-real-448'
INAT = 'vit-huge-p14_ft-32xb32-amp-coslr-100e_inat18-448'
OMNI = 'vit-base-p16_probe-8xb512_omni'
LR = 'optim_wrapper = dict(optimizer=dict(lr=1e-3))'
KEYS = """optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, custom_keys={'pos_embed': dict(), 'pos_emb.': dict()}))"""


@pytest.fixture
def broken(tmp_path):
    """broken(stem, text) lints a heir of a shipped config, under its name, with `text` changed."""

    def check(stem, text, named=None):
        path = tmp_path / f'{named or stem}.py'
        path.write_text(f'_base_ = {str(find_config(stem))!r}\n{text}\n')
        violations = lint(path)
        assert all(str(violation).startswith(f'{path}: ') for violation in violations)
        assert all('\n' not in violation.message for violation in violations)
        return [(violation.key, violation.message) for violation in violations]

    return check


@pytest.mark.parametrize('stem', [FT, MAE, KNN, LINEAR, HALF, FEW, IN_C, INAT, OMNI])
def test_an_unchanged_heir_is_right(broken, stem):
    assert broken(stem, '') == []


@pytest.mark.parametrize(
    ('stem', 'text', 'key', 'message'),
    [
        (MAE, 'global_batch_size = 2048', 'global_batch_size', 'is 2048, but the name promises 40'),
        (FT, 'train_dataloader = dict(batch_size=64)', 'train_dataloader.batch_size', 'is 64, but'),
        (KNN, 'test_dataloader = dict(batch_size=64)', 'test_dataloader.batch_size', 'is 64, but'),
        (
            MAE,
            'train_cfg = dict(max_epochs=300)',
            'train_cfg.max_epochs',
            'is 300, but',
        ),
        (MAE, 'optim_wrapper = dict(amp=None)', 'optim_wrapper.amp', "is None, .* 'bfloat16'"),
        (MAE, "model = dict(encoder=dict(arch='large'))", 'model.encoder.arch', "is 'large', but"),
        (KNN, 'model = dict(encoder=dict(patch_size=14))', 'model.encoder.patch_size', 'is 14'),
        (MAE, 'model = dict(encoder=dict(img_size=448))', 'model.encoder.img_size', 'is 448, but'),
        (
            HALF,
            'model = dict(trainable_blocks=1)',
            'model.trainable_blocks',
            'is 1, .* 0.5',
        ),
        (
            LINEAR,
            'model = dict(trainable_blocks=1)',
            'model.trainable_blocks',
            'is 1, .* 0',
        ),
        (LINEAR, "model = dict(head=dict(type='LinearGridHead'))", 'model.head.type', 'Grid'),
        (
            FEW,
            'train_dataloader = dict(dataset=dict(source=dict(fraction=0.2)))',
            'train_dataloader.dataset.source.fraction',
            'is 0.2, but the name promises 0.1',
        ),
        (
            IN_A,
            "test_evaluator = dict(subset='imagenet-r')",
            'test_evaluator.subset',
            "is 'imagenet-r', but the name promises 'imagenet-a'",
        ),
        (IN_C, 'test_evaluator = dict(baseline=None)', 'test_evaluator.baseline', 'is None, but'),
        (
            IN_V2,
            "test_dataloader = dict(dataset=dict(source=dict(classes='imagenet')))",
            'test_dataloader.dataset.source.classes',
            "is 'imagenet', but the name promises 'imagenet-v2'",
        ),
        (
            IN_REAL,
            'test_dataloader = dict(dataset=dict(source=dict(file_numbers=False)))',
            'test_dataloader.dataset.source.file_numbers',
            'is False, but',
        ),
        (INAT, 'model = dict(head=dict(num_classes=8141))', 'model.head.num_classes', '8142'),
        (OMNI, 'test_dataloader = dict(batch_size=64)', 'test_dataloader.batch_size', 'is 64, but'),
        (MAE, 'base_lr = None', 'base_lr', 'is missing: lr = base_lr'),
        (
            MAE,
            'optim_wrapper = dict(optimizer=dict(lr=1e-3))',
            'optim_wrapper.optimizer.lr',
            'stated',
        ),
        (
            FT,
            KEYS,
            'optim_wrapper.paramwise_cfg.custom_keys.pos_emb.',
            'matches no parameter',
        ),
        (
            FT,
            'model = dict(encoder=dict(with_cls_token=False))',
            'optim_wrapper.paramwise_cfg.decay_tokens',
            'encoder.cls_token, which it exempts, is no parameter',
        ),
        (
            FT,
            "optim_wrapper = dict(paramwise_cfg=dict(no_decay=['rel_pos']))",
            'optim_wrapper.paramwise_cfg.no_decay',
            'rel_pos is part of no parameter',
        ),
        (MAE, 'model = dict(masker=dict(mask_ratio=0.999))', 'model', 'leaves 0 of 196 patches'),
        (
            FT,
            "train_dataloader = dict(dataset=dict(pipeline=[dict(type='RandomFlip', prob=2.0)]))",
            'train_dataloader.dataset.pipeline.0',
            'prob must lie in',
        ),
        (MAE, 'optim_wrapper = dict(optimzer=1)', 'load', 'did you mean optim_wrapper.optimizer'),
    ],
)
def test_a_broken_rule_is_named_with_its_key(broken, stem, text, key, message):
    violations = broken(stem, text)
    assert [found for found, _ in violations] == [key], violations
    assert re.search(message, violations[0][1])


def test_missing_base(tmp_path):
    path = tmp_path / f'{MAE}.py'
    path.write_text("_base_ = './gone.py'\n")
    (violation,) = lint(path)
    assert violation.key == 'load'
    assert 'no such _base_ file: ./gone.py' in str(violation)


def test_name_of_no_grammar(broken):
    ((key, message),) = broken(MAE, '', named='my_mae')
    assert (key, message[:3]) == ('name', 'not')


METAFILE = """Models:
  - Name: one
    Metadata: {{Epochs: {epochs}, Checksum: '{checksum}'}}
    Weights: https://download.openmmlab.com/{file}
    Config: {folder}/{config}.py
"""


@pytest.mark.parametrize(
    ('changes', 'key', 'message'),
    [
        ({}, None, None),
        ({'checksum': 'sha256:00000000'}, 'one.Metadata.Checksum', 'the file is named 85be947b'),
        ({'file': 'mae.pth'}, 'one.Weights', 'the first 8 digits'),
        ({'epochs': 300}, 'one.Metadata.Epochs', f'300, but the config is {MAE}'),
        ({'config': FT}, 'one.Config', 'is not beside this file'),
        ({'folder': 'elsewhere'}, 'one.Config', 'is not beside this file'),
    ],
)
def test_metafile(tmp_path, changes, key, message):
    facts = {
        'epochs': 400,
        'checksum': 'sha256:85be947b',
        'file': 'mae_20220223-85be947b.pth',
        'folder': tmp_path.name,
        'config': MAE,
    }
    (tmp_path / f'{MAE}.py').touch()
    path = tmp_path / 'metafile.yml'
    path.write_text(METAFILE.format(**{**facts, **changes}))
    violations = lint(path)
    assert [violation.key for violation in violations] == ([key] if key else [])
    assert not key or message in violations[0].message


def test_metafile_with_results_of_no_config(tmp_path):
    (tmp_path / f'{MAE}.py').touch()
    path = tmp_path / 'metafile.yml'
    path.write_text(f'Models: []\nPublished: [{{Config: {MAE}}}, {{Config: other}}]\n')
    assert [violation.key for violation in lint(path)] == ['Published.other.Config']


def test_names():
    name = parse_name('vit-large-p16_ft-last4-8xb128-amp-coslr-100e_in1k')
    assert (name.arch, name.patch, name.job, name.variant) == ('large', 16, 'ft', 'last4')
    assert (name.gpus, name.batch, name.epochs, name.trainable_blocks) == (8, 128, 100, 4)
    assert (name.data, name.size, name.percent, name.paper) == ('in1k', 224, 100, False)
    assert parse_name(FEW).percent == 10
    assert parse_name('vit-huge-p14_ft-32xb32-amp-coslr-50e_in1k-448').size == 448
    assert parse_name(f'{FT}_more') is None


@pytest.mark.parametrize(
    ('stem', 'facts'),
    [
        (IN_REAL, ('huge', 14, 'test', 8, 128, None, 'in-real', 448)),
        (IN_C, ('base', 16, 'test', 8, 128, None, 'in-c', 224)),
        (INAT, ('huge', 14, 'ft', 32, 32, 100, 'inat18', 448)),
        (OMNI, ('base', 16, 'probe', 8, 512, None, 'omni', 224)),
        ('vit-mini-p4_test-1xb256_digits-c-16', ('mini', 4, 'test', 1, 256, None, 'digits-c', 16)),
        ('vit-mini-p4_ft-1xb64-coslr-20e_fashion', ('mini', 4, 'ft', 1, 64, 20, 'fashion', 28)),
        ('vit-mini-p4_ft-1xb64-coslr-9e_fashion-lt', ('mini', 4, 'ft', 1, 64, 9, 'fashion-lt', 28)),
        (
            'vit-mini-p4_ft-1xb9-coslr-9e_digits-5to9-16',
            ('mini', 4, 'ft', 1, 9, 9, 'digits-5to9', 16),
        ),
        ('vit-mini-p4_test-1xb64_fashion-c-32', ('mini', 4, 'test', 1, 64, None, 'fashion-c', 32)),
        ('vit-mini-p8_ft-1xb64-coslr-9e_crops-32-10pct', ('mini', 8, 'ft', 1, 64, 9, 'crops', 32)),
    ],
)
def test_names_of_other_data(stem, facts):
    name = parse_name(stem)
    found = (name.arch, name.patch, name.job, name.gpus, name.batch, name.epochs)
    assert (*found, name.data, name.size) == facts
    assert name.is_trained == (name.epochs is not None)
    assert name.has_head == (name.job != 'probe')


COCO, SCENES = ('coco', 1024, None), ('digit-scenes', 32, 1000)


@pytest.mark.parametrize(
    ('stem', 'facts'),
    [
        (
            'vit-base-p16_upernet-8xb2-polylr-160k_ade20k-512',
            ('segment', 'upernet', None, 8, 2, 'poly', None, 160_000, 'ade20k', 512, None),
        ),
        (
            'vit-base-p16_mask-rcnn-fpn-64xb1-coslr-100e_coco-1024',
            ('detect', 'mask-rcnn-fpn', None, 64, 1, 'cos', 100, None, 'coco', 1024, None),
        ),
        (
            'vit-huge-p16_cascade-mask-rcnn-vitdet-64xb1-amp-steplr-75e_coco-1024',
            ('detect', 'cascade-mask-rcnn-vitdet', None, 64, 1, 'step', 75, None, *COCO),
        ),
        (
            'vit-base-p16_seg-linear-sup-8xb32-amp-coslr-100e-mmseg_in-s919',
            ('segment', 'seg-linear', 'sup', 8, 32, 'cos', 100, None, 'in-s919', 224, None),
        ),
        (
            'vit-mini-p4_seg-linear-frozen-1xb16-coslr-20e_digit-scenes-32-100img',
            ('segment', 'seg-linear', 'frozen', 1, 16, 'cos', 20, None, 'digit-scenes', 32, 100),
        ),
        (
            'vit-mini-p4_mask-rcnn-fpn-scratch-1xb4-polylr-2k_digit-scenes-32-1000img',
            ('detect', 'mask-rcnn-fpn', 'scratch', 1, 4, 'poly', None, 2000, *SCENES),
        ),
        (
            'vit-mini-p4_mask-rcnn-single-scale-frozen-1xb4-polylr-2k_digit-scenes-32-1000img',
            ('detect', 'mask-rcnn-single-scale', 'frozen', 1, 4, 'poly', None, 2000, *SCENES),
        ),
        (
            'mae_vit-mini-p4_1xb64-coslr-50e_digit-scenes-32',
            ('pretrain', None, None, 1, 64, 'cos', 50, None, 'digit-scenes', 32, None),
        ),
    ],
)
def test_names_of_dense_tasks(stem, facts):
    name = parse_name(stem)
    found = (name.task, name.job, name.variant, name.gpus, name.batch, name.schedule, name.epochs)
    assert (*found, name.steps, name.data, name.size, name.images) == facts
    assert (name.is_trained, name.is_dense) == (True, name.job is not None)
    assert name.trainable_blocks == (0 if name.variant == 'frozen' else None)


@pytest.mark.parametrize(
    'stem',
    [
        'vit-base-p16_upernet-8xb2-polylr-160k_coco-512',
        'vit-base-p16_upernet-8xb2-polylr-160k_in1k',
        'vit-base-p16_upernet-last4-8xb2-polylr-160k_ade20k-512',
        'vit-base-p16_mask-rcnn-fpn-64xb1-coslr-100e_ade20k-512',
        'vit-base-p16_mask-rcnn-64xb1-coslr-100e_coco-1024',
        'vit-base-p16_ft-8xb128-amp-coslr-100e_ade20k-512',
        'vit-base-p16_ft-8xb128-amp-coslr-100e-mmseg_in1k',
        'vit-base-p16_ft-frozen-8xb128-amp-coslr-100e_in1k',
        'vit-base-p16_upernet-8xb2-explr-160k_ade20k-512',
    ],
)
def test_parts_that_do_not_go_together_are_no_name(stem):
    assert parse_name(stem) is None


SEGMENT = 'vit-mini-p4_upernet-1xb4-polylr-1k_digit-scenes-32-8img'
DETECT = 'vit-mini-p4_mask-rcnn-fpn-frozen-1xb2-steplr-9e_digit-scenes-32'
SINGLE_SCALE = DETECT.replace('fpn', 'single-scale')
DENSE = """
default_scope = 'mae'
encoder = dict(type='DenseViTEncoder', arch=dict(embed_dim=32, depth=4, num_heads=2))
encoder.update(img_size=32, patch_size=4, in_channels=1)
model = dict(encoder=encoder, taps=[0, 1, 2, 3])
model['preprocessor'] = dict(type='DensePreprocessor', mean=[20.0], std=[60.0])
global_batch_size = 4
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4), constructor='GroupedOptimConstructor')
source = dict(type='DigitScenes', split='train')
train_dataloader = dict(batch_size=4, dataset=dict(type='SeededDataset', source=source))
train_dataloader['dataset']['pipeline'] = []
"""
MAPS = """
model.update(type='Segmenter', loss=dict(type='PixelCrossEntropyLoss'))
model.update(neck=dict(type='LevelsNeck'), head=dict(type='UPerHead', num_classes=11, width=16))
model['auxiliary'] = dict(type='FCNHead', num_classes=11, width=16)
source.update(num_scenes=8)
param_scheduler = dict(type='WarmupPolyLR')
train_cfg = dict(type='TrainLoop', max_steps=1000)
"""
OBJECTS = """
model.update(type='Detector', neck=dict(type='FPNNeck', channels=16), rpn=dict(type='RPN'))
model.update(roi=dict(type='RoIHead', num_classes=10, width=16, hidden=16), trainable_blocks=0)
global_batch_size = train_dataloader['batch_size'] = 2
param_scheduler = dict(type='WarmupStepLR', milestones=[0.5])
train_cfg = dict(type='TrainLoop', max_epochs=9)
"""


@pytest.mark.parametrize(
    ('stem', 'text', 'key', 'message'),
    [
        (SEGMENT, '', None, ''),
        (DETECT, '', None, ''),
        (SEGMENT, "param_scheduler['type'] = 'WarmupCosineLR'", 'param_scheduler.type', 'PolyLR'),
        (SEGMENT, "train_cfg['max_steps'] = 100", 'train_cfg.max_steps', '100, .* 1000'),
        (SEGMENT, "model['head']['num_classes'] = 10", 'model.head.num_classes', '10, .* 11'),
        (SEGMENT, "model['auxiliary']['num_classes'] = 10", 'model.auxiliary.num_classes', '11'),
        (SEGMENT, "encoder['img_size'] = 48", 'model.encoder.img_size', '48, .* 32'),
        (
            SEGMENT,
            "source['num_scenes'] = 9",
            'train_dataloader.dataset.source.num_scenes',
            '9, .* 8',
        ),
        (SEGMENT, 'base_lr = 1e-3', 'base_lr', 'beside optim_wrapper.optimizer.lr'),
        (SEGMENT, 'global_batch_size = 8', 'global_batch_size', 'is 8, .* 4'),
        (SEGMENT, "optim_wrapper['optimizer'].pop('lr')", 'base_lr', 'is missing'),
        (DETECT, "model['trainable_blocks'] = None", 'model.trainable_blocks', 'None, .* 0'),
        (DETECT, "model['roi']['num_classes'] = 11", 'model.roi.num_classes', '11, .* 10'),
        (DETECT, "model['taps'] = [3]; model['neck']['type'] = 'SimplePyramid'", 'model.neck', ''),
        (
            SINGLE_SCALE,
            "model.update(neck=None, taps=[3]); model['rpn']['sizes'] = [8]",
            None,
            '',
        ),
        (SINGLE_SCALE, '', 'model.neck', 'FPNNeck'),
        (DETECT, "param_scheduler['milestones'] = [0.5]; train_cfg['max_epochs'] = 8", 'train', ''),
    ],
)
def test_a_dense_config_keeps_its_name(tmp_path, stem, text, key, message):
    path = tmp_path / f'{stem}.py'
    path.write_text(f'{DENSE}{MAPS if stem == SEGMENT else OBJECTS}{text}\n')
    violations = lint(path)
    if key is None:
        assert violations == []
        return
    # One head with other classes than the other is named by the model too.
    found = [each for each in violations if each.key.startswith(key)]
    assert len(found) == 1
    assert len(violations) == (2 if 'num_classes' in text and stem == SEGMENT else 1)
    assert re.search(message, found[0].message)


@pytest.mark.parametrize('data', ['in-b', 'in-c-real', 'inat20', 'places', 'in1k-c', 'c'])
def test_names_of_no_data(data):
    assert parse_name(f'vit-base-p16_test-8xb128_{data}') is None
