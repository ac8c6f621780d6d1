"""What a config inherits as a whole, and what it changes of that."""

import pytest

from mae.config import find_config, load_config
from mae.config.dumped import read_dumped
from mae.config.lineage import differences_from_parent, parent_of, short
from mae.utils.errors import ConfigError

SHIPPED = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'


@pytest.fixture
def heir(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = '{SHIPPED}'\nbase_lr = 0.5\nwork_dir = 'elsewhere'\n")
    return path


def test_the_parent_of_a_config_is_the_one_it_inherits(heir):
    assert parent_of(heir) == find_config(SHIPPED).resolve()


def test_parts_are_no_parent_but_a_shipped_config_is_its_own(tmp_path):
    shipped = find_config(SHIPPED)
    copy = tmp_path / 'copy.py'
    copy.write_text("_base_ = ['mae::_base_/default_runtime.py']\n")
    assert parent_of(copy) is None
    assert parent_of(shipped) is not None


def test_differences_are_those_of_file_and_options(heir):
    config = load_config(heir, {'train_cfg.max_epochs': 3, 'randomness.seed': 7})
    config.resume = True
    name, rows = differences_from_parent(config)
    assert name == SHIPPED
    assert {(key, here) for key, _, here in rows} == {
        ('base_lr', '0.5'),
        ('train_cfg.max_epochs', '3'),
        ('randomness.seed', '7'),
    }


def test_without_a_file_nothing_is_known(heir):
    config = load_config(heir)
    heir.unlink()
    assert differences_from_parent(config) == ('', [])


def test_long_values_are_cut():
    assert short('a') == 'a'
    assert len(short(list(range(1000)))) == 160


def test_a_dumped_config_is_read_as_it_was(heir, tmp_path):
    config = load_config(heir)
    config.dump(tmp_path / 'dumped.py')
    assert read_dumped(tmp_path / 'dumped.py') == config.to_dict()


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('import os', 'line 1 is no assignment'),
        ("a = dict(b=open('x'))", 'line 1 calls something'),
        ('a = dict([1])', 'line 1 calls something'),
        ('a = (', 'never closed'),
        ('a = b', 'malformed node'),
    ],
)
def test_nothing_in_a_dumped_config_is_run(tmp_path, text, why):
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        read_dumped(path)
