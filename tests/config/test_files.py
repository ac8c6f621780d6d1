"""Configs are found by path and by name, old spellings included, and read or refused clearly."""

import pytest

from mae.config import find_config, load_config, shipped_configs
from mae.utils.errors import ConfigError

PRETRAIN = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'


@pytest.mark.parametrize(
    'name', [PRETRAIN, f'{PRETRAIN}.py', f'pretrain/{PRETRAIN}', f'configs/pretrain/{PRETRAIN}.py']
)
def test_shipped_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_config(name)
    assert found.is_file()
    assert found.parts[-2:] == ('pretrain', f'{PRETRAIN}.py')


@pytest.mark.parametrize(
    ('old', 'now'),
    [
        ('mae_vit-b-p16_8xb512-coslr-400e_in1k', PRETRAIN),
        ('mae_vit-base-p16_8xb512-coslr-400e_in1k', PRETRAIN),
        ('mae_vit-base-p16_8xb512-fp16-coslr-400e_in1k', PRETRAIN),
        ('mae_vit-base-p16_8xb512-coslr-400e-fp16_in1k', PRETRAIN),
        ('mae_vit-base-p16_8xb512-coslr-400e_in1k-224.py', PRETRAIN),
        ('mae_vit-l-p16_8xb512-coslr-800e_in1k', 'mae_vit-large-p16_8xb512-amp-coslr-800e_in1k'),
        ('vit-b-p16_ft-8xb128-coslr-100e_in1k', 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'),
        ('vit-huge-p16_ft-8xb128-coslr-50e_in1k', 'vit-huge-p14_ft-8xb128-amp-coslr-50e_in1k'),
    ],
)
def test_old_spelling(old, now):
    assert find_config(old).stem == now


def test_no_two_shipped_configs_share_a_name():
    stems = [path.stem for path in shipped_configs()]
    assert len(stems) == len(set(stems)) > 20


def test_a_file_of_ones_own_wins(write, monkeypatch, tmp_path):
    mine = write(f'{PRETRAIN}.py', 'base_lr = 1.0')
    monkeypatch.chdir(tmp_path)
    assert find_config(f'{PRETRAIN}.py').resolve() == mine
    assert load_config(f'{PRETRAIN}.py').base_lr == 1.0


def test_unknown_name_tells_the_nearest():
    with pytest.raises(ConfigError, match=rf'no such config: \S+; nearest: {PRETRAIN}, '):
        find_config('mae_vit-base-p16_8xb512-amp-coslr-40e_in1k')


def test_missing_path_tells_the_file_beside(write, tmp_path):
    write('mine.py', '')
    with pytest.raises(ConfigError, match='nearest: mine'):
        find_config(tmp_path / 'mien.py')


def test_a_missing_path_is_not_taken_for_a_shipped_name(tmp_path):
    with pytest.raises(ConfigError, match='no such config'):
        find_config(tmp_path / f'{PRETRAIN}.py')


def test_base_files_are_not_configs_to_run():
    with pytest.raises(ConfigError, match='no such config'):
        find_config('default_runtime')


def test_empty_name_is_not_the_current_folder():
    with pytest.raises(ConfigError, match="no such config: ''"):
        find_config('')


def test_folder(tmp_path):
    with pytest.raises(ConfigError, match='is a folder'):
        find_config(tmp_path)


def test_other_file(write):
    with pytest.raises(ConfigError, match=r'must end in \.py'):
        find_config(write('notes.txt', ''))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('base_lr = 1\nmodel = dict(', r'a\.py:2: .*never closed'),
        ('base_lr = 1\n\nmodel = dict(type=MAE)', r"a\.py:3: NameError: name 'MAE'"),
        ("_base_ = 'bsae.py'", r'a\.py:1: .*_base_.*: bsae\.py; did you mean base\.py\?'),
        ("_base_ = 'base.py'\nbase_lr = dict(x=1)", r'a\.py: base_lr must be float or None'),
        (
            "_base_ = ['base.py', 'twin.py']",
            r'a\.py: .*_base_ .*base_lr, \S+base\.py and \S+twin\.py',
        ),
        ('_base_ = 3', r'a\.py:1: _base_ must be .* not 3'),
        ("_base_: str = 'base.py'", r'a\.py:1: _base_ takes no annotation'),
        ("_bases_ = 'base.py'", r'a\.py:1: unknown key _bases_; did you mean _base_\?'),
        ('base_lr = 1\n_delete_ = True', r'a\.py: _delete_ stands inside of the dict'),
        ("model = dict(_delete_='yes')", r'a\.py: model\._delete_ must be True or False'),
        ("custom_hooks = [dict(_delete_=True, type='EMAHook')]", 'a list is replaced whole'),
        ("_base_ = 'broken.py'", r'broken\.py:1: .*syntax'),
        ("_base_ = 'failing.py'", r'failing\.py:2: ZeroDivisionError'),
        ("_base_ = 'a.py'", r'leads back to \S+a\.py'),
        ('base_lr = "\0"', 'a.py'),
    ],
)
def test_unreadable_file(write, text, message):
    write('base.py', 'base_lr = 1')
    write('twin.py', 'base_lr = 2')
    write('broken.py', 'base lr = 1')
    write('failing.py', 'base_lr = 1\nbase_lr = base_lr / 0')
    with pytest.raises(ConfigError, match=message) as error:
        load_config(write('a.py', text))
    assert '\n' not in str(error.value)


def test_not_text(tmp_path):
    (tmp_path / 'a.py').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ConfigError, match=r'a\.py is not a Python file'):
        load_config(tmp_path / 'a.py')


def test_yaml(write):
    assert load_config(write('a.yaml', 'base_lr: 0.5\n')).base_lr == 0.5


def test_pure_python_config_with_classes_as_types(write):
    path = write(
        'a.py',
        'from torch.optim import AdamW\n'
        "optim_wrapper = dict(type='StepOptimWrapper', optimizer=dict(type=AdamW, lr=1e-3))\n",
    )
    assert load_config(path).optim_wrapper.optimizer.lr == 1e-3
    with pytest.raises(ConfigError, match=r'optimizer\.lrr of AdamW; did you mean \S+\.lr\?'):
        load_config(path, {'optim_wrapper.optimizer.lrr': 1})
