"""Every key and type of every shipped config, misspelt, is refused with the right suggestion."""

import random
from collections.abc import Mapping
from string import ascii_lowercase

import pytest

from mae.config import load_config, shipped_configs
from mae.config.check import check_config
from mae.utils.errors import ConfigError


def places(node, path=()):
    """Path of every key below `node`, through dicts and lists."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in items:
        if isinstance(node, Mapping):
            yield (*path, key)
        if isinstance(value, Mapping | list | tuple):
            yield from places(value, (*path, key))


def replaced(node, path, change):
    """A copy of `node` with `change` applied to the dict that holds the key at `path`'s end."""
    if len(path) == 1:
        return change(node)
    copy = dict(node) if isinstance(node, Mapping) else list(node)
    copy[path[0]] = replaced(node[path[0]], path[1:], change)
    return copy


def slip(word, rng):
    """`word` with a letter missing, doubled, wrong or exchanged with its neighbour."""
    at = rng.randrange(len(word))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    return rng.choice(
        [
            before + after or word * 2,
            before + letter + letter + after,
            before + rng.choice(ascii_lowercase) + after,
            before + after[:1] + letter + after[1:],
            word.replace('_', ''),
            f'{word}s',
        ]
    )


@pytest.fixture(scope='module')
def keys():
    """(config as data, path) of every different place in the shipped configs."""
    found = {}
    for leaf in shipped_configs():
        config = load_config(leaf).to_dict()
        for path in places(config):
            if path[:-1] != ('model', 'target', 'options'):  # timm's arguments, which timm checks
                found.setdefault(path, config)
    assert len(found) > 150
    return [(config, path) for path, config in found.items()]


def told(config):
    with pytest.raises(ConfigError) as error:
        check_config(config)
    return str(error.value)


def test_misspelt_keys(keys):
    rng = random.Random(0)
    wrong = []
    for config, path in keys:
        key = path[-1]
        misspelt = slip(key, rng)
        while misspelt == key:
            misspelt = slip(key, rng)
        message = told(
            replaced(
                config,
                path,
                lambda node, key=key, new=misspelt: {
                    new if k == key else k: v for k, v in node.items()
                },
            )
        )
        if f'did you mean {".".join(map(str, path))}?' not in message:
            wrong.append((misspelt, message))
    assert len(wrong) <= len(keys) // 100, wrong


def test_misspelt_types(keys):
    rng = random.Random(0)
    wrong = []
    for config, path in keys:
        if path[-1] != 'type':
            continue
        name = config
        for key in path:
            name = name[key]
        misspelt = slip(name, rng)
        if misspelt == name:
            continue
        message = told(replaced(config, path, lambda node, new=misspelt: {**node, 'type': new}))
        where = '.'.join(map(str, path))
        if f'unknown type {misspelt!r} at {where}; did you mean {name}?' not in message:
            wrong.append((misspelt, message))
    assert wrong == []
