"""A public name has one meaning: no class, function or type alias of `mae` is defined twice."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A name that several modules share because it is how they are called.
PROTOCOLS = {
    'run': ('mae/benchmark/', '`tools/benchmark.py` calls the `run` of the module of its command'),
    'main': ('mae/', '`mae` and `tools/` call the `main` of a command'),
    'parse_args': ('mae/commands/', 'each command line has its own, for `main` and for tests'),
    'finetune': ('mae/', "a job: with images of one's own, and of a peer in the benchmark"),
    'step': ('mae/benchmark/peers/', 'a peer names its functions after the commands it takes part'),
    'loader': ('mae/benchmark/peers/', 'likewise'),
    'checks': (
        'mae/benchmark/on_device/',
        'the module is called by its name, and lists its checks',
    ),
}


@pytest.fixture(scope='module')
def trees():
    """Of all modules, by path; no test changes them."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding='utf-8'))
        for path in sorted((ROOT / 'mae').rglob('*.py'))
    }


def public_names(tree):
    """Classes, functions and type aliases at the top of a module; constants are in capitals."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from (name for name in names if not name.startswith('_') and not name.isupper())


def defined_twice(modules):
    """By name the modules that define it, where they are several and share it as no protocol."""
    places = {}
    for path, tree in modules.items():
        for name in set(public_names(tree)):
            places.setdefault(name, []).append(path)
    return {
        name: paths
        for name, paths in places.items()
        if len(paths) > 1
        and not (name in PROTOCOLS and all(p.startswith(PROTOCOLS[name][0]) for p in paths))
    }


def test_no_public_name_is_defined_twice(trees):
    assert defined_twice(trees) == {}


def test_each_exception_is_needed(trees):
    for name, (folder, _) in PROTOCOLS.items():
        shared = [p for p, t in trees.items() if p.startswith(folder) and name in public_names(t)]
        assert len(shared) > 1, name


def test_a_breach_is_found(trees):
    planted = ast.parse(
        'class Runner: ...\nSample = dict[str, int]\ndef run(): ...\ndef _leave(): ...\nA = 1\n'
    )
    found = defined_twice({**trees, 'mae/utils/planted.py': planted})
    assert {name for name, paths in found.items() if 'mae/utils/planted.py' in paths} == {
        'Runner',
        'Sample',
        'run',
    }
