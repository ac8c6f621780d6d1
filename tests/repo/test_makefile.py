"""What `make demo` says and installs, with an interpreter that notes its arguments."""

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE = """#!{python}
import os, sys
arguments = sys.argv[1:]
with open({log!r}, 'a') as log:
    print(*arguments, file=log)
if arguments[:2] == ['-m', 'venv']:
    os.makedirs(os.path.join(arguments[2], 'bin'), exist_ok=True)
    os.path.lexists(link := os.path.join(arguments[2], 'bin/python')) or os.symlink(__file__, link)
"""


@pytest.fixture
def make(tmp_path):
    """Runs make with the fake; gives its output and the lines of arguments."""
    fake, log = tmp_path / 'python', tmp_path / 'log'
    fake.write_text(FAKE.format(python=sys.executable, log=str(log)))
    fake.chmod(0o755)

    def run(*words):
        log.write_text('')
        options = [f'VENV={tmp_path / "venv"}', f'PYTHON={fake}']
        done = subprocess.run(
            ['make', *words, *options], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout, log.read_text()

    return run


def test_the_demo_says_its_cost_before_it_installs_and_takes_the_least(make):
    said, called = make('demo')
    assert said.index('3.2 GB to download') < said.index('-m venv')
    assert '`make demo TORCH=cpu`' in said
    assert '-m pip install -r requirements/demo.txt -e .' in called
    for more in ('tests.txt', 'requirements.txt', 'peers', 'judges', 'torchvision'):
        assert more not in called
    assert called.splitlines()[-1] == 'tools/demo.py'
    said, called = make('demo')
    assert 'download' not in said
    assert called == 'tools/demo.py\n'


def test_without_cuda_torch_comes_first_and_from_an_index_of_its_own(make):
    said, called = make('demo', 'TORCH=cpu', 'TORCH_INDEX=file:///wheels')
    assert '.45 GB to download' in said
    assert 'CUDA' not in said.split('python')[0]
    first, second, *_ = (line for line in called.splitlines() if ' pip install' in line)
    index = '--index-url file:///wheels'  # alone: torch and torchvision must be of one build
    assert first == f'-m pip install --no-deps {index} torch torchvision'
    assert second == '-m pip install -r requirements/demo.txt -e .'


def test_the_demo_of_a_whole_environment_installs_nothing(make, tmp_path):
    _, called = make(f'{tmp_path}/venv/.stamp')
    assert '-m pip install -r requirements.txt -e .' in called
    assert make('demo')[1] == 'tools/demo.py\n'


def names(file):
    lines = (ROOT / 'requirements' / f'{file}.txt').read_text().splitlines()
    return {line.split('>')[0].split('<')[0] for line in lines if line and line[0] != '#'}


def test_what_is_imported_at_once_is_required():
    """Peers, scikit-learn and the like are imported where they are used."""
    required = names('runtime') | {'opencv-python'}
    installed = packages_distributions()
    missing = {
        f'{path.relative_to(ROOT)}: {module}'
        for path in (ROOT / 'mae').rglob('*.py')
        if 'peers' not in path.parts
        for module in imported(ast.parse(path.read_text()))
        if module not in {*sys.stdlib_module_names, 'mae'}
        and not required & {*installed.get(module, ())}
    }
    assert missing == set()


def imported(tree):
    """Top-level packages that a module imports as it is imported."""
    for node in tree.body:
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            continue
        for inner in [node] if isinstance(node, ast.FunctionDef | ast.ClassDef) else ast.walk(node):
            if isinstance(inner, ast.Import):
                yield from (alias.name.partition('.')[0] for alias in inner.names)
            elif isinstance(inner, ast.ImportFrom):
                yield (inner.module or '').partition('.')[0]


def test_each_extra_is_a_file_of_requirements():
    for extra in ('demo', 'optional', 'tests', 'docs', 'hub'):
        assert names(extra)
    assert not names('runtime') & (names('demo') | names('tests') | names('optional'))
