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
    ],
)
def test_names_of_other_data(stem, facts):
    name = parse_name(stem)
    found = (name.arch, name.patch, name.job, name.gpus, name.batch, name.epochs)
    assert (*found, name.data, name.size) == facts
    assert name.is_trained == (name.epochs is not None)
    assert name.has_head == (name.job != 'probe')


@pytest.mark.parametrize('data', ['in-b', 'in-c-real', 'inat20', 'places', 'in1k-c', 'c'])
def test_names_of_no_data(data):
    assert parse_name(f'vit-base-p16_test-8xb128_{data}') is None
