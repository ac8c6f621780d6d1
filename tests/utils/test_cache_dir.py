"""One rule says where everything is kept that can be got again."""

from pathlib import Path

import pytest

from mae.datasets.sources import index_cache
from mae.zoo.download import cache_folder


@pytest.mark.parametrize(
    ('variables', 'expected'),
    [
        ({'MAE_HOME': '/data/mae', 'XDG_CACHE_HOME': '/cache'}, '/data/mae'),
        ({'MAE_HOME': '~/mae'}, '/home/somebody/mae'),
        ({'XDG_CACHE_HOME': '/cache'}, '/cache/mae'),
        ({'MAE_HOME': '', 'XDG_CACHE_HOME': ''}, '/home/somebody/.cache/mae'),
        ({'XDG_CACHE_HOME': 'relative'}, '/home/somebody/.cache/mae'),
        ({}, '/home/somebody/.cache/mae'),
    ],
)
def test_weights_and_indexes_lie_in_one_home(variables, expected, monkeypatch):
    for name in ('MAE_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    for name, value in {'HOME': '/home/somebody', **variables}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected, 'weights')
    assert index_cache._places(Path('/images'), {})[1].parent == Path(expected, 'index')
