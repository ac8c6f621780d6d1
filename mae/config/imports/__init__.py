"""Recipes of other homes of MAE, as configs of this one: `mae config import`."""

from mae.config.imports.authors import read_command
from mae.config.imports.leaf import Leaf, as_leaf
from mae.config.imports.openmmlab import read_openmmlab

__all__ = ['Leaf', 'as_leaf', 'read_command', 'read_openmmlab']
