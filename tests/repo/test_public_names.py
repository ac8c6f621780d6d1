"""What a package exports is what its name says: no function is hidden by the module it lives in."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from inspect import ismodule
from pathlib import Path

import pytest

import mae

ROOT = Path(__file__).parents[2]
PACKAGES = ['mae', *(m.name for m in pkgutil.walk_packages(mae.__path__, 'mae.') if m.ispkg)]
PUBLIC = ['apis', 'datasets', 'datasets.transforms', 'engine', 'evaluation', 'models']
EXPORTED = {
    'apis': 'FeatureExtractor ImageClassifierInferencer convert fetch find_config get_model '
    'init_model list_models load_config publish reconstruct test train',
    'datasets': 'ArrowImages Checked Digits GlobalBatchSampler ImageFolder PackedImages '
    'Quarantined SeededDataset ShardSampler Subset collate read_quarantine transforms verify '
    'write_quarantine',
    'engine': 'Runner hooks loops optim',
    'evaluation': 'Accuracy GridAccuracy KNNHook KNNLoop KNNProbe LinearProbe ReconstructionLoss '
    'TestLoop ValLoop knn_scores',
    'models': 'algorithms decoders encoders heads losses masking preprocessors targets',
}


def own_callables(package):
    """By name of a submodule, the function or class of that very name that it defines."""
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        submodule = import_module(f'{package.__name__}.{module.name}')
        value = getattr(submodule, module.name, None)
        if value is not None and getattr(value, '__module__', None) == submodule.__name__:
            found[module.name] = value
    return found


@pytest.mark.parametrize('name', PACKAGES)
def test_no_module_hides_what_is_exported(name):
    package = import_module(name)
    for export, value in own_callables(package).items():
        if export in getattr(package, '__all__', ()):
            assert getattr(package, export) is value, f'{name}.{export} is the module'


@pytest.mark.parametrize('name', [f'mae.{room}' for room in PUBLIC])
def test_public_packages_export_what_their_modules_are_named_after(name):
    package = import_module(name)
    assert own_callables(package).keys() <= set(package.__all__)


def test_the_check_finds_such_modules():
    assert {'reconstruct'} <= own_callables(import_module('mae.apis')).keys()


@pytest.mark.parametrize('room', EXPORTED)
def test_exported_names_stay(room):
    package = import_module(f'mae.{room}')
    assert set(EXPORTED[room].split()) <= set(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
    parts = {name for name in package.__all__ if ismodule(getattr(package, name))}
    assert all(hasattr(getattr(package, part), '__path__') or part == 'loops' for part in parts)


def test_both_imports_give_the_function_in_any_order():
    imports = [
        'from mae.apis import reconstruct as a',
        'from mae.apis.reconstruct import reconstruct as b',
    ]
    # Each order in a fork of a process that has done the imports that take long.
    code = 'import os, mmengine.runner, torch, torchvision\n'
    for order in (imports, imports[::-1]):
        trial = '; '.join([*order, 'assert a is b and callable(a)'])
        code += f'if not os.fork():\n    {trial}; os._exit(0)\nassert os.wait()[1] == 0\n'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
