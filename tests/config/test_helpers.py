"""Helper variables of a config's own, told from misspelt keys; how files come over each other."""

import pytest
from mmengine.config import Config

from mae.config import find_config, load_config
from mae.utils.errors import ConfigError

FINETUNE = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
PRETRAIN = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'


def refusal(path, options=None):
    with pytest.raises(ConfigError) as error:
        load_config(path, options)
    assert '\n' not in str(error.value)
    return str(error.value)


# --- helper variables --------------------------------------------------------------------------

OPENMMLAB = """
import os.path as osp
from math import pi, sqrt
dataset_type = 'ImageFolder'
data_root = osp.join('data', 'photos')
scale = 224

def twice(n):
    return 2 * n

train_pipeline = [
    dict(type='DecodeRandomResizedCrop', size=scale),
    dict(type='PackInputs'),
]
sizes = [twice(number) for number in (1, 2)]
for size in sizes:
    last = size
train_dataloader = dict(
    batch_size=last,
    dataset=dict(
        type='SeededDataset',
        source=dict(type=dataset_type, root=data_root),
        pipeline=train_pipeline,
    ),
)
"""


def test_the_idiom_of_openmmlab(write):
    config = load_config(write('a.py', OPENMMLAB))
    assert set(config) == {'train_dataloader'}
    assert config.train_dataloader.batch_size == 4
    assert config.train_dataloader.dataset.source == {'type': 'ImageFolder', 'root': 'data/photos'}
    again = load_config(Config.fromfile(write('a.py', OPENMMLAB), lazy_import=False))
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize('read', ['{{_base_.rate}}', '_base_.rate', "_base_['rate']"])
def test_what_an_heir_reads(write, read):
    write('base.py', 'rate = 0.5')
    path = write('a.py', f"_base_ = './base.py'\nbase_lr = {read}")
    assert load_config(path).to_dict() == {'base_lr': 0.5}


def test_pure_python_configs(write):
    write('base.py', "rate = 0.5\nkind = 'AdamW'\noptim_wrapper = dict(optimizer=dict(type=kind))")
    text = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    path = write('a.py', f'{text}base_lr = 2 * rate\n')
    assert set(load_config(path)) == {'base_lr', 'optim_wrapper'}
    assert 'a.py:4: unknown key base_l; did you mean base_lr?' in refusal(
        write('a.py', f'{text}base_l = 2 * rate\n')
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('base_l = 1e-3', 'a.py:1: unknown key base_l; did you mean base_lr?'),
        ('base_l = 1\nbase_l = 2', 'a.py:1: unknown key base_l; did you mean base_lr?'),
        ('base_lr = 1\n\nmodle = dict()', 'a.py:3: unknown key modle; did you mean model?'),
        ('something = 1', 'a.py:1: unknown key something'),
        (
            'a = [base_l for base_l in ()]\nb = a\nmodel = b\nbase_l = 1',
            'a.py:4: unknown key base_l',
        ),
    ],
)
def test_what_nothing_reads_is_misspelt(write, text, message):
    assert message in refusal(write('a.py', text))


def test_in_a_base_the_base_is_named(write):
    write('base.py', 'base_l = 1e-3')
    assert 'base.py:1: unknown key base_l' in refusal(write('a.py', "_base_ = 'base.py'"))


@pytest.mark.parametrize('name', ['data_root', '_root'])
def test_a_helper_of_the_base_set_again_has_no_effect(write, name):
    base = write('base.py', f"{name} = 'x'\nwork_dir = {name}")
    message = refusal(write('a.py', f"_base_ = 'base.py'\n{name} = 'y'"))
    assert f'a.py:2: {name} has no effect' in message
    assert str(base) in message


def test_an_option_for_a_helper_has_no_effect(write):
    path = write('a.py', OPENMMLAB)
    message = refusal(path, {'data_root': 'x'})
    assert message.startswith(f'cfg_options: data_root is a helper variable of {path}')
    assert message.endswith('; set train_dataloader.dataset.source.root')
    assert 'set the keys ' in refusal(path, {'sizes.0': 3})


# --- bases --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name',
    [
        FINETUNE,
        f'{FINETUNE}.py',
        f'finetune/{FINETUNE}.py',
        f'mae::finetune/{FINETUNE}.py',
        f'mae::{FINETUNE}',
        'vit-b-p16_ft-8xb128-coslr-100e_in1k',
    ],
)
@pytest.mark.parametrize('form', ['{!r}', '[{!r}]'])
def test_a_shipped_config_is_inherited_from_anywhere(write, name, form, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write('mine/base.py', f'_base_ = {form.format(name)}\nbase_lr = 0.5')
    config = load_config(write('mine/deep/a.py', "_base_ = '../base.py'"))
    expected = load_config(FINETUNE, {'base_lr': 0.5})
    assert config.to_dict() == expected.to_dict()


def test_base_files_and_other_formats(write):
    names = ['mae::_base_/default_runtime.py', '_base_/models/mae_vit-base-p16']
    assert load_config(write('a.py', f'_base_ = {names}')).model.type == 'MAE'
    path = write('a.yaml', f'_base_: {PRETRAIN}\nbase_lr: 0.5\n')
    expected = load_config(PRETRAIN, {'base_lr': 0.5})
    assert load_config(path).to_dict() == expected.to_dict()
    assert 'a.yaml: no such _base_ file: gone' in refusal(write('a.yaml', '_base_: gone\n'))


def test_a_file_of_ones_own_wins(write):
    write(f'{PRETRAIN}.py', 'base_lr = 0.25')
    assert load_config(write('a.py', f"_base_ = '{PRETRAIN}.py'")).to_dict() == {'base_lr': 0.25}


def test_a_name_on_the_command_line_may_have_the_scope():
    assert find_config(f'mae::pretrain/{PRETRAIN}.py') == find_config(PRETRAIN)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (f'{PRETRAIN[:-1]}', f'did you mean {PRETRAIN}?'),
        (
            'mae::pretrain/mae_vit-base-p16_8xb512-amp-coslr-40e_in1k.py',
            f'did you mean {PRETRAIN}?',
        ),
        ('../_base_/default_runtime.py', 'did you mean mae::_base_/default_runtime.py?'),
        ('vit-base-p16_fine-tune_in1k', 'nearest: vit-base-p16_'),
        ('', 'no such _base_ file'),
    ],
)
def test_no_such_base(write, name, message):
    path = write('a.py', f'base_lr = 1\n_base_ = {name!r}')
    assert refusal(path).startswith(f'{path}:2: no such _base_ file: {name}')
    assert message in refusal(path)


def test_mmengine_is_left_as_it_was(write):
    before = dict(vars(Config))
    refusal(write('a.py', f"_base_ = '{PRETRAIN}'\nbase_lr = 1 / 0"))
    load_config(PRETRAIN)
    assert dict(vars(Config)) == before


# --- merging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('dict(embed_dim=8, depth=1, num_heads=1)', {'embed_dim': 8, 'depth': 1, 'num_heads': 1}),
        ("'large'", 'large'),
    ],
)
def test_a_value_of_another_kind_replaces(write, text, value):
    head = f"_base_ = '{PRETRAIN}'\nmodel = dict(encoder=dict(arch="
    assert load_config(write('a.py', f'{head}{text}))')).model.encoder.arch == value
    write('dict.py', f'{head}dict(embed_dim=16, depth=2, num_heads=2)))')
    text = f"_base_ = 'dict.py'\nmodel = dict(encoder=dict(arch={text}))"
    assert load_config(write('a.py', text)).model.encoder.arch == value


def test_dicts_lists_and_nothing_over_each_other(write):
    write('base.py', "visualizer = None\ncustom_hooks = [dict(type='EMAHook')]")
    text = "_base_ = 'base.py'\nvisualizer = dict(type='Visualizer')\ncustom_hooks = None"
    assert load_config(write('a.py', text)).to_dict() == {
        'visualizer': {'type': 'Visualizer'},
        'custom_hooks': None,
    }
    text = f"_base_ = '{PRETRAIN}'\ntrain_dataloader = dict(dataset=dict(pipeline=dict(type='X')))"
    assert 'train_dataloader.dataset.pipeline must be a list' in refusal(write('a.py', text))


def test_delete_holds_for_every_key_that_shares_the_dict(write):
    """mmengine takes `_delete_` out of the dict at its first use."""
    write(
        'base.py',
        "val_evaluator = dict(type='Accuracy', topk=(1, 5))\ntest_evaluator = val_evaluator",
    )
    text = "_base_ = 'base.py'\nval_evaluator = dict(_delete_=True, type='GridAccuracy')\n"
    config = load_config(write('a.py', f'{text}test_evaluator = val_evaluator'))
    assert config.val_evaluator == config.test_evaluator == {'type': 'GridAccuracy'}


def test_delete_where_there_is_nothing_to_delete(write):
    text = "model = dict(_delete_=True, type='MAE', target=dict(_delete_=True, type='PixelTarget'))"
    config = load_config(write('a.py', text))
    assert config.model == {'type': 'MAE', 'target': {'type': 'PixelTarget'}}


def test_a_key_that_is_imported_is_no_helper(write):
    write('base.py', 'base_lr = 0.5\nmodel = dict(type="MAE")')
    text = 'from mmengine.config import read_base\nwith read_base():\n'
    text += '    from .base import base_lr, model\n'
    assert load_config(write('a.py', text), {'base_lr': 1.0}).base_lr == 1.0
    assert 'unknown key model.typ' in refusal(write('a.py', text), {'model.typ': 1})


def test_a_helper_changed_by_an_heir_in_pure_python(write):
    write('base.py', 'rate = 0.5\nbase_lr = rate')
    text = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    message = refusal(write('a.py', f'{text}rate = 2 * rate\n'))
    assert 'a.py:4: rate has no effect here' in message


def test_a_key_that_stands_deeper_in_the_config(write):
    path = write('mine.py', f'_base_ = {PRETRAIN!r}\nmax_epochs = 3\n')
    message = refusal(path)
    assert message.startswith(f'{path}:2: unknown key max_epochs')
    assert message.endswith('; did you mean train_cfg.max_epochs?')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("r = 'mae::'\n_base_ = r + {!r}\n", ':2: _base_ is read before the file is run, so that'),
        (
            '_base_ = {!r}\nratio = {{{{_base_.model.maskr.mask_ratio}}}}\n',
            ":2: {{_base_.model.maskr.mask_ratio}}: the bases have no 'maskr'",
        ),
        ('\ufeff_base_ = {!r}\n', ': begins with a byte-order mark; save it as UTF-8 without one'),
    ],
)
def test_what_mmengine_cannot_read(write, text, message):
    path = write('mine.py', text.format(PRETRAIN))
    assert refusal(path).startswith(f'{path}{message}')
