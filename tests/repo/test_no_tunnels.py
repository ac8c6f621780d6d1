"""No room reaches a higher one by a string, where the import law cannot see it.

What a lower room needs from a higher one is handed to it as an argument. A string counts as such a
name if it is a module of `mae`, or a function of more than one word: single words such as 'train'
are also keys of dicts. Classes are for configs to name.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from importlinter.api import read_configuration

from mae.datasets.sources.imagenet_c import CORRUPTIONS

ROOT = Path(__file__).parents[2]
CONTRACTS = read_configuration(str(ROOT / 'pyproject.toml'))['contracts_options']
LEVELS = next(contract['layers'] for contract in CONTRACTS if contract['id'] == 'levels')
# By room the number of its level, counted from the top.
ROOMS = {
    room: number for number, level in enumerate(LEVELS) for room in re.findall(r'mae[.\w]+', level)
}
# These have it as their job: where registries look, where old paths lead, what is imported late.
BY_NAME = ('mae.registry', 'mae.moved', 'mae.late_imports')
# Names of other people that are also names of functions here: a key of COCO's annotations, and
# the folders of ImageNet-C.
KEYS = ('file_name', *CORRUPTIONS)


def module_of(path):
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


@cache
def trees():
    """The syntax tree of each module."""
    return {
        module_of(path): ast.parse(path.read_text(encoding='utf-8'))
        for path in sorted((ROOT / 'mae').rglob('*.py'))
    }


def room_of(module):
    return next((room for room in ROOMS if f'{module}.'.startswith(f'{room}.')), None)


def may_import(module, other):
    here, there = room_of(module), room_of(other)
    # The package itself and `mae.models` gather what stands below them.
    return here is None or here == there or (there is not None and ROOMS[there] > ROOMS[here])


@cache
def functions():
    """By name of a function of several words, the modules that have one."""
    found = {}
    for name, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and '_' in node.name.strip('_'):
                found.setdefault(node.name, []).append(name)
    return found


def tunnels(module, tree):
    """Strings in a module that name what it may not import: line and text."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            places = [] if node.value in KEYS else functions().get(node.value, [])
            if node.value in trees() and node.value != 'mae':
                places = [*places, node.value]
            if places and not any(may_import(module, place) for place in places):
                found.append((node.lineno, node.value))
    return found


def registered_functions(tree):
    """Calls that put something into the registry of functions."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func) == 'FUNCTIONS.register_module']


def test_no_string_names_what_stands_higher():
    found = {
        module: tunnels(module, tree) for module, tree in trees().items() if module not in BY_NAME
    }
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ('module', 'text'),
    [
        ('mae.fault_tolerance.planted', "FUNCTIONS.get('load_weights')"),
        ('mae.fault_tolerance.planted', "FUNCTIONS.get('matching_config')"),
        ('mae.engine.planted', "import_module('mae.apis.suggest_config')"),
        ('mae.datasets.planted', "import_module('mae.engine')"),
        ('mae.datasets.planted', "getattr(module, 'load_weights')"),
    ],
)
def test_a_tunnel_is_seen(module, text):
    assert tunnels(module, ast.parse(text))


@pytest.mark.parametrize(
    ('module', 'text'),
    [
        ('mae.apis.planted', "import_module('mae.engine')"),
        ('mae.engine.planted', "FUNCTIONS.get('load_weights')"),
        ('mae.engine.planted', "FUNCTIONS.get('collate')"),
        ('mae.datasets.planted', "{'train': 1}"),
    ],
)
def test_what_stands_lower_may_be_named(module, text):
    assert not tunnels(module, ast.parse(text))


def test_registered_functions_collate():
    rooms = {room_of(module) for module, tree in trees().items() if registered_functions(tree)}
    assert rooms == {'mae.datasets'}
