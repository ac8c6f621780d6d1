"""Imports that wait until they are needed, so that a command line answers at once."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# The module of mmengine that imports transformers, nearly a second, to register one optimizer.
_BUILDER = 'mmengine.optim.optimizer.builder'


class _LatePackage(ModuleType):
    """A package whose public names are imported at their first use."""

    _late: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._late:
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        value = getattr(import_module(self._late[name]), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        # Python binds a submodule to its name, also where a function has the same.
        if not (isinstance(value, ModuleType) and name in self._late):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._late})


def import_late(package: str, modules: Mapping[str, str]) -> None:
    """Let each public name of a package be imported at its first use.

    Args:
        package: `__name__` of the package, which calls this in its `__init__.py`.
        modules: name to the module that has it.
    """
    module = sys.modules[package]
    module.__dict__['_late'] = dict(modules)
    module.__class__ = _LatePackage


class _LateOptimizers(MetaPathFinder):
    """Keeps mmengine from importing transformers for the sake of one optimizer."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _BUILDER or 'transformers' in sys.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutTransformers(spec.loader)
        return spec


class _WithoutTransformers(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules['transformers'] = None  # type: ignore[assignment]  # an ImportError to mmengine
        try:
            self._loader.exec_module(module)
        finally:
            del sys.modules['transformers']
        module.OPTIMIZERS.register_module(name='Adafactor', module=_adafactor)


def _adafactor(*args: Any, **options: Any) -> Any:
    """The optimizer of transformers that mmengine registers."""
    from transformers import Adafactor

    return Adafactor(*args, **options)


def import_transformers_late() -> None:
    """Let transformers be imported with the first optimizer of it, not with mmengine."""
    if not any(isinstance(finder, _LateOptimizers) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LateOptimizers())
