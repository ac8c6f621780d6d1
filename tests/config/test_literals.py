"""What stands for which value on the command line."""

import math

import pytest

from mae.config import parse_options
from mae.config.options import parse_value
from mae.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('pair', 'value'),
    [
        ('root=/data/My Pics (1)/train', '/data/My Pics (1)/train'),
        ("root='/data/a,b'", '/data/a,b'),
        ("classes=['0','1']", ['0', '1']),
        ("classes=['sea lion','polar bear']", ['sea lion', 'polar bear']),
        ("classes=['a,b','c']", ['a,b', 'c']),
        ("name='0123'", '0123'),
    ],
)
def test_texts_stay_as_they_are(pair, value):
    assert list(parse_options([pair]).values()) == [value]


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        # numbers and constants
        ('-1', -1),
        ('+1', 1),
        ('-1e-3', -1e-3),
        ('.5', 0.5),
        ('1.', 1.0),
        ('-inf', -math.inf),
        ('TRUE', True),
        ('none', 'none'),
        # what only looks like a number
        ('007', '007'),
        ('2024_01', '2024_01'),
        ('2024-01-15', '2024-01-15'),
        ('0x10', '0x10'),
        ('1j', '1j'),
        ('--1', '--1'),
        ('1.2.3', '1.2.3'),
        ('-', '-'),
        ('e', 'e'),
        # quotes and backslashes
        ('"0"', '0'),
        ("''", ''),
        ("'true'", 'true'),
        (r'C:\new\table', r'C:\new\table'),
        (r"'C:\new\table'", r'C:\new\table'),
        (r"'it\'s'", "it's"),
        ('"it\'s"', "it's"),
        ("it's", "it's"),
        # lists
        ('[sea lion, polar bear]', ['sea lion', 'polar bear']),
        ('/data/a,/data/b', ['/data/a', '/data/b']),
        ('a(1,2),b', ['a(1,2)', 'b']),
        ('1,', [1]),
        ('[1, 2,]', [1, 2]),
        ('(1)', (1,)),
        ('()', ()),
        ('[[1,-2.5e3],[None,true]]', [[1, -2500.0], [None, True]]),
        # dicts
        ('{}', {}),
        ('{1: 2}', {1: 2}),
        ("dict(a=-1, b=(1, 2), c='x, y')", {'a': -1, 'b': (1, 2), 'c': 'x, y'}),
        ("{'k': 'C:\\\\data'}", {'k': 'C:\\data'}),
        # blanks, brackets and equals signs of a text
        (' x ', ' x '),
        ('  ', '  '),
        (' 1 ', 1),
        ('/data/{x}', '/data/{x}'),
        ('https://a.b/c?d=1&e=[2]', 'https://a.b/c?d=1&e=[2]'),
    ],
)
def test_value(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_nan():
    assert math.isnan(parse_value('nan'))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[1', 'brackets do not close: ] is missing'),
        ('(1', 'brackets do not close: ) is missing'),
        ('[1 2', 'brackets do not close'),
        ('[a', 'brackets do not close'),
        ('x)', 'brackets do not close'),
        ('[)', 'brackets do not close'),
        ('[1]]', "']' follows"),
        ("'abc", "before 'abc' does not close"),
        ("'a' b", "'b' follows"),
        ('(1) pics', "'pics' follows"),
        ('[1,,2]', 'a value is missing'),
        (',1', 'a value is missing'),
        ('{"b":', 'a value is missing'),
        ('{"b" 1}', ' follows '),
        ('{1, 2}', '{"key": 1} or dict(key=1)'),
        ('{[1]: 2}', '[1] cannot be the key'),
        ('dict(a=1', 'brackets do not close'),
        ('dict(=1)', 'a dict is written as'),
        ('dict([(1, 2)])', 'a dict is written as'),
        ('dict(**{"a": 1})', 'a dict is written as'),
        ('dict(a=b)', 'b must stand in quotes'),
        ("[{'type': A}]", 'A must stand in quotes'),
        ("[dict(type='A',k=1),list(type='B')]", 'in a list needs quotes'),
    ],
)
def test_malformed(text, message):
    with pytest.raises(ConfigError) as error:
        parse_options([f'a.b={text}'])
    assert str(error.value).startswith(f'cfg_options a.b={text}: ')
    assert message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('pair', ['lr', '=1', 'a..b=1', '.a=1', 'a.=1', ' =1'])
def test_no_key(pair):
    with pytest.raises(ConfigError, match=r'takes KEY=VALUE, such as a\.b=1, not'):
        parse_options([pair])


def test_blanks_around_the_key():
    assert parse_options(['a.b = 1']) == {'a.b': 1}
