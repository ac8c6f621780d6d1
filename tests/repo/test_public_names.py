"""What a package exports is what its name says: no function is hidden by the module it lives in."""

import pkgutil
from importlib import import_module
from inspect import ismodule

import pytest

import mae

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
