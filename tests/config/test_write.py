"""Written configs load to the values given; differences of two configs."""

import pytest

from mae.config import load_config
from mae.config.diff import ABSENT, Difference, config_differences
from mae.config.write import Variable, config_text, write_config
from mae.utils.errors import ConfigError

BASE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
VALUES = {
    'base_lr': 0.5,
    'model.encoder.arch': 'tiny',
    'model.encoder.img_size': 64,
    'model.decoder': {'embed_dim': 192, 'depth': 4, 'num_heads': 6},
    'train_dataloader.dataset.source': {'root': "it's \\ a 'folder' ä雪", 'split': ''},
    'param_scheduler.warmup_epochs': 6.3,
}
REASONS = {
    'base_lr': 'a reason',
    'model.encoder.arch': 'another',
    'param_scheduler.warmup_epochs': 'a third',
}


def test_a_written_config_says_what_was_given(tmp_path):
    path = tmp_path / 'new' / 'mine.py'
    about = 'With """quotes""" and a \\ in it.'
    write_config(path, about, BASE, VALUES, REASONS)
    loaded, base = (load_config(name).to_dict() for name in (path, BASE))
    changed = {found.key: found.second for found in config_differences(base, loaded)}
    wanted = {**VALUES, **{f'model.decoder.{k}': v for k, v in VALUES['model.decoder'].items()}}
    source = wanted.pop('train_dataloader.dataset.source')
    del wanted['model.decoder']
    wanted |= {f'train_dataloader.dataset.source.{key}': value for key, value in source.items()}
    sizes = {key for key in changed if key.endswith('.size')}  # follow the model's
    assert {key: value for key, value in changed.items() if key not in sizes} == wanted
    namespace = {}
    exec(compile(path.read_text(), 'mine', 'exec'), namespace)  # noqa: S102  (just written)
    assert namespace['__doc__'] == about
    lines = path.read_text().splitlines()
    assert 'base_lr = 0.5  # a reason' in lines
    assert 'param_scheduler = dict(warmup_epochs=6.3)  # a third' in lines
    assert max(map(len, lines)) <= 100


def test_long_reasons_stand_above_and_variables_are_no_texts():
    values = {'val_dataloader.batch_size': 2, 'test_dataloader': Variable('val_dataloader')}
    text = config_text('', 'x', values, {'val_dataloader.batch_size': 'why ' * 30})
    assert text.splitlines()[4].startswith('# why why')
    assert text.splitlines()[5:] == [
        'val_dataloader = dict(batch_size=2)',
        'test_dataloader = val_dataloader',
    ]


def test_infinity_is_written_as_python():
    text = config_text('', 'x', {'clip_grad.max_norm': float('inf')}, {})
    assert text.splitlines()[4] == "clip_grad = dict(max_norm=float('inf'))"


def test_a_long_list_is_a_line_for_each_item():
    steps = [{'type': 'DecodeImage', 'max_pixels': number} for number in range(4)]
    lines = config_text('', 'x', {'a.pipeline': steps}, {'a.pipeline': 'why'}).splitlines()
    assert lines[5] == '    pipeline=[  # why'
    assert lines[6] == "        dict(type='DecodeImage', max_pixels=0),"
    assert lines[10:] == ['    ],', ')']
    assert config_text('', 'x', {}, {}) == '""""""\n\n_base_ = \'x\'\n'


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (
            {'train_dataloader.dataset.pipeline.0.size': 3},
            "^.*: a config file cannot say '0' alone",
        ),
        ({'a.class': 3}, "^a.class: a config file cannot say 'class'"),
        ({'a': 3, 'a.b': 4}, '^a.b: a has a value already, 3$'),
    ],
)
def test_what_a_file_cannot_say(values, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        write_config(tmp_path / 'mine.py', '', 'x', values)
    assert not list(tmp_path.iterdir())


def test_differences():
    first = {
        'a': 1,
        'b': {'type': 'X', 'c': [1, {'d': 2}]},
        'only': None,
        'e': {'type': 'P', 'f': 1},
    }
    second = {'a': 1, 'b': {'type': 'X', 'c': [1, {'d': 3}]}, 'e': {'type': 'Q', 'f': 1}, 'new': 5}
    assert config_differences(first, first) == []
    assert config_differences(first, second) == [
        Difference('b.c.1.d', 2, 3),
        Difference('only', None, ABSENT),
        Difference('e', first['e'], second['e']),
        Difference('new', ABSENT, 5),
    ]
