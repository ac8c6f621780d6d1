"""The import law holds, and each of its rules would notice a breach.

What import-linter cannot say (who creates a registry, who looks at a version) is read from the
syntax trees.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from importlinter.api import read_configuration

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'pyproject.toml'
CONTRACTS = read_configuration(str(CONFIG))['contracts_options']
SOURCES = sorted((ROOT / 'mae').rglob('*.py'))
LIBRARIES = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'timm'}

# One breach of each contract, and of each promise a contract makes: id, file, its text. Planted all
# at once; `planted` becomes a name of its own in each.
BREACHES = [
    ('levels', 'fault_tolerance/planted.py', 'import mae.engine'),
    ('levels', 'config/planted.py', 'from mae import apis'),
    ('levels', 'zoo/planted.py', 'import mae.engine'),
    ('levels', 'visualization/planted.py', 'import mae.evaluation'),
    ('machinery-without-models', 'engine/planted.py', 'import mae.datasets'),
    ('levels', 'models/heads/planted.py', 'from mae.models.losses import stub'),
    ('levels', 'models/encoders/planted.py', 'from mae.models import algorithms'),
    ('levels', 'datasets/planted.py', 'def later():\n    from mae import apis'),
    ('levels', 'utils/planted.py', 'from mae.models import layers'),
    ('levels', 'registry.py', 'from mae.utils import errors'),
    ('layers-torch-only', 'models/layers/planted.py', 'import mmengine'),
    ('layers-torch-only', 'models/layers/planted.py', 'from mae.registry import MODELS'),
    ('layers-torch-only', 'models/layers/planted.py', 'from torchvision.transforms import v2'),
    ('algorithms-by-name', 'models/algorithms/planted.py', 'from mae.models import encoders'),
    ('algorithms-by-name', 'models/algorithms/planted.py', 'from mae.models import masking'),
    ('machinery-without-models', 'engine/planted.py', 'from mae.models import layers'),
    ('machinery-without-models', 'evaluation/planted.py', 'import mae.models'),
    ('machinery-without-models', 'visualization/planted.py', 'import mae.models'),
]


def breaches(folder):
    """What `lint-imports` prints of each contract that `folder`/mae breaks, by its name."""
    code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    result = subprocess.run(
        [sys.executable, '-c', code, '--config', str(CONFIG), '--no-cache', '--no-logo'],
        cwd=folder,
        env={**os.environ, 'COLUMNS': '200'},
        capture_output=True,
        text=True,
    )
    verdicts = dict(re.findall(r'^(.+?) (KEPT|BROKEN)\b', result.stdout, re.MULTILINE))
    assert set(verdicts) == {contract['name'] for contract in CONTRACTS}, result.stdout
    broken = {name for name, verdict in verdicts.items() if verdict == 'BROKEN'}
    assert result.returncode == bool(broken)
    _, *parts = re.split(r'^(.+)\n-+\n\n', result.stdout, flags=re.MULTILINE)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    return {name: told[name] for name in broken}


def copied(folder):
    """A copy of the package, to plant something in."""
    ignored = shutil.ignore_patterns('__pycache__')
    return Path(shutil.copytree(ROOT / 'mae', folder / 'mae', ignore=ignored))


def test_contracts_hold_and_algorithms_may_import_the_mask_type(tmp_path):
    planted = copied(tmp_path) / 'models/algorithms/planted.py'
    planted.write_text('from mae.models.masking.mask import Mask\n')
    assert breaches(tmp_path) == {}


def test_contracts_notice_each_breach(tmp_path):
    root = copied(tmp_path)
    places = [file.replace('planted', f'planted{n}') for n, (_, file, _) in enumerate(BREACHES)]
    (root / 'models/losses/stub.py').touch()
    for place, (_, _, text) in zip(places, BREACHES, strict=True):
        with (root / place).open('a') as planted:
            planted.write(f'\n{text}\n')
    told = breaches(tmp_path)
    names = {contract['id']: contract['name'] for contract in CONTRACTS}
    for place, (contract, _, text) in zip(places, BREACHES, strict=True):
        module = 'mae.' + place.removesuffix('.py').replace('/', '.')
        chains = re.findall(r'^- +(\S+) -> ', told[names[contract]], re.MULTILINE)
        assert module in chains, text


def test_contract_notices_a_two_way_import(tmp_path):
    root = copied(tmp_path)
    (root / 'apis/planted.py').write_text('import mae.apis.back\n')
    (root / 'apis/back.py').write_text('import mae.apis.planted\n')
    ((name, told),) = breaches(tmp_path).items()
    assert name == next(c['name'] for c in CONTRACTS if c['id'] == 'no-two-way-imports')
    assert 'No cycles are allowed in mae.apis.' in told


def test_every_module_stands_on_a_level():
    (levels,) = (c['layers'] for c in CONTRACTS if c['id'] == 'levels')
    rooms = re.findall(r'mae(?:\.\w+)+', ' '.join(levels))
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix('').parts
        module = '.'.join(parts).removesuffix('.__init__')
        # The package itself and `mae.models` only gather what stands below them.
        assert module in ('mae', 'mae.models') or any(
            f'{module}.'.startswith(f'{room}.') for room in rooms
        ), f'{module} is on no level of the import law in pyproject.toml'


def registry_makers(tree):
    """Calls that create a registry, and classes that extend it, whatever name it goes by."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == 'Registry'
    }

    def is_registry(node):
        by_name = isinstance(node, ast.Name) and node.id in names
        return by_name or (isinstance(node, ast.Attribute) and node.attr == 'Registry')

    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and is_registry(n.func)]
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    return calls + [n for n in classes if any(map(is_registry, n.bases))]


def version_readers(tree):
    """Nodes that look at the version of a library."""
    return [node for node in ast.walk(tree) if _reads_version(node)]


def _reads_version(node):
    if isinstance(node, ast.Attribute):
        of_library = isinstance(node.value, ast.Name) and node.value.id in LIBRARIES
        return of_library and node.attr in ('__version__', 'version', 'version_info')
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return False
    names = {alias.name for alias in node.names}
    if isinstance(node, ast.Import):
        return bool(names & {'importlib.metadata', 'packaging.version'})
    module = node.module or ''
    if module.split('.')[0] not in LIBRARIES:
        return module in ('importlib.metadata', 'packaging', 'packaging.version')
    told = {'__version__', 'version_info', 'version', 'digit_version', 'TORCH_VERSION'}
    return module.endswith('.version') or bool(names & told)


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding='utf-8'))


RULES = [(registry_makers, 'mae/registry.py'), (version_readers, 'mae/utils/versions.py')]


@pytest.mark.parametrize(('rule', 'only'), RULES)
def test_one_file_alone_may(rule, only):
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        found = rule(tree_of(path))
        assert name == only or not found, f'{name}:{found[0].lineno} does what only {only} may'


def test_registry_file_is_seen_by_its_rule():
    assert registry_makers(tree_of(ROOT / 'mae/registry.py'))


@pytest.mark.parametrize(
    ('rule', 'text'),
    [
        (registry_makers, "from mmengine.registry import Registry\nX = Registry('x')"),
        (registry_makers, "from mmengine import Registry as R\nX = R('x')"),
        (registry_makers, "import mmengine\nX = mmengine.registry.Registry('x')"),
        (registry_makers, 'from mmengine import Registry\nclass Mine(Registry): ...'),
        (version_readers, "import torch\nif torch.__version__ > '2': ..."),
        (version_readers, 'import torch\nif torch.version.cuda: ...'),
        (version_readers, 'from mmengine.utils import digit_version'),
        (version_readers, 'from mmengine import __version__'),
        (version_readers, 'from torch.version import cuda'),
        (version_readers, 'import importlib.metadata'),
    ],
)
def test_rule_notices_a_breach(rule, text):
    assert rule(ast.parse(text))


@pytest.mark.parametrize(
    ('rule', 'text'),
    [
        (registry_makers, 'from mae.registry import MODELS\nMODELS.register_module()'),
        (registry_makers, 'from mmengine import Registry\ndef build(registry: Registry): ...'),
        (version_readers, 'from mae.version import __version__'),
        (version_readers, "import torch\nstate = {'version': torch.tensor(1)}"),
    ],
)
def test_rule_lets_the_rest_pass(rule, text):
    assert not rule(ast.parse(text))
