"""`--cfg-options` in mmengine's notation."""

import pytest
from mmengine.config import Config

from mae.config import parse_options
from mae.config.options import merge_options
from mae.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('1e-4', 1e-4),
        ('true', True),
        ('False', False),
        ('None', None),
        ('float16', 'float16'),
        ("'quoted'", 'quoted'),
        ('/data/my images', '/data/my images'),
        ('a=b', 'a=b'),
        ('', ''),
        ('1,2', [1, 2]),
        ('[1,a]', [1, 'a']),
        ('(0.9,0.95)', (0.9, 0.95)),
        ('[(1,2),[a,b]]', [(1, 2), ['a', 'b']]),
        ('[]', []),
        ("{'depth': 2, 'x': [1]}", {'depth': 2, 'x': [1]}),
        ('dict(depth=2, x=[1])', {'depth': 2, 'x': [1]}),
        (
            "[dict(type='A', x=dict(y=None)), {'z': dict()}]",
            [
                {'type': 'A', 'x': {'y': None}},
                {'z': {}},
            ],
        ),
    ],
)
def test_value(text, value):
    parsed = parse_options([f'a.b={text}'])
    assert parsed == {'a.b': value}
    assert type(parsed['a.b']) is type(value)


def test_several_and_none():
    assert parse_options(['a=1', 'b=2']) == {'a': 1, 'b': 2}
    assert parse_options(None) == {}


@pytest.mark.parametrize('text', ['lr', '=1', 'a=[1', 'a={"b":'])
def test_malformed(text):
    with pytest.raises(ConfigError, match='cfg_options'):
        parse_options([text])


@pytest.fixture
def config():
    return Config(
        {
            'lr': 1.0,
            'model': {'type': 'A', 'size': (1, 2)},
            'pipeline': [{'type': 'X', 'p': 0.5}, {'type': 'Y'}],
            'nothing': None,
        }
    )


@pytest.mark.parametrize(
    ('options', 'path', 'value'),
    [
        ({'lr': 2}, ['lr'], 2),
        ({'new.deep.key': 1}, ['new', 'deep', 'key'], 1),
        ({'model.type': 'B'}, ['model'], {'type': 'B', 'size': (1, 2)}),
        ({'model': {'type': 'B'}}, ['model'], {'type': 'B', 'size': (1, 2)}),
        ({'model.type': 'B', 'model._delete_': True}, ['model'], {'type': 'B'}),
        ({'model': {'_delete_': True, 'type': 'B'}}, ['model'], {'type': 'B'}),
        ({'model.size.1': 3}, ['model', 'size'], (1, 3)),
        ({'pipeline.1.type': 'Z'}, ['pipeline'], [{'type': 'X', 'p': 0.5}, {'type': 'Z'}]),
        ({'pipeline.0': {'p': 1}}, ['pipeline', 0], {'type': 'X', 'p': 1}),
        ({'nothing.type': 'B'}, ['nothing'], {'type': 'B'}),
    ],
)
def test_merge(config, options, path, value):
    merge_options(config, options)
    node = config
    for key in path:
        node = node[key]
    assert node == value


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('lr.x', 'lr is 1.0, .* no x'),
        (
            'pipeline.2.type',
            r'pipeline is a list: pipeline\.2 .* 0\.\.1',
        ),
        ('pipeline.type', r'pipeline\.type must be pipeline\.N'),
    ],
)
def test_merge_through_what_is_no_dict(config, key, message):
    with pytest.raises(ConfigError, match=message):
        merge_options(config, {key: 1})


def test_merging_changes_no_shared_part(config):
    config.twin = config.model
    merge_options(config, {'model.type': 'B'})
    assert config.twin.type == 'A'


def test_a_list_of_dicts():
    """mmengine's reading of lists cuts dicts at their commas."""
    text = "test_cfg.probes=[{'type': 'KNNProbe', 'k': 10}, {'type': 'LinearProbe'}]"
    probes = [dict(type='KNNProbe', k=10), dict(type='LinearProbe')]
    assert parse_options([text]) == {'test_cfg.probes': probes}
