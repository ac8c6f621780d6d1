"""What the scripts import inside of functions and of their last block, which no import runs."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('path', sorted((ROOT / 'tools').rglob('*.py')), ids=lambda p: p.stem)
def test_names_exist(path):
    imports = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'mae'
    ]
    for node in imports:
        module = import_module(node.module)
        missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
        assert not missing, f'{path}:{node.lineno}: {node.module} has no {missing}'
