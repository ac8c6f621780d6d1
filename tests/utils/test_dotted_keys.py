"""Dotted keys find nodes of dicts, lists and configs, and nothing where there is none."""

import pytest
from mmengine.config import Config

from mae.utils.dotted_keys import node_at, places_of

HOOKS = [{'type': 'KNNHook', 'interval': 2}, {'type': 'Watchdog', 'interval': 2}]
TREE = {'model': {'encoder': {'depth': 2}}, 'custom_hooks': HOOKS}


@pytest.mark.parametrize('tree', [TREE, Config(TREE)], ids=['dict', 'Config'])
def test_a_key_leads_through_dicts_and_lists(tree):
    assert node_at(tree, 'model.encoder.depth') == 2
    assert node_at(tree, 'custom_hooks.1.type') == 'Watchdog'
    assert node_at(tree, '') is tree


@pytest.mark.parametrize(
    'key', ['models', 'model.encoder.depth.size', 'custom_hooks.2', 'custom_hooks.first']
)
def test_where_there_is_no_node_there_is_none(key):
    assert node_at(TREE, key) is None
    assert node_at(None, key) is None


def test_a_value_is_found_wherever_it_stands():
    assert places_of(TREE, 2) == [
        'model.encoder.depth',
        *(f'custom_hooks.{i}.interval' for i in (0, 1)),
    ]
    assert places_of(TREE, 2.0) == []  # another type
    assert places_of(TREE, None) == []
