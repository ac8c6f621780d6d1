"""Importing this package registers loops, hooks and everything of the optimizer."""

from mae.engine import hooks, loops, optim
from mae.engine.runner import Runner

__all__ = ['Runner', 'hooks', 'loops', 'optim']
