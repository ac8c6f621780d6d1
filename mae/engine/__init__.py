"""What a training step is. `loops.py` is the file to read first, then `optim/wrapper.py`.

`runner.py` builds what a config names; hooks that keep a run alive are in `mae/fault_tolerance`.
Importing this package registers loops, hooks and everything of the optimizer.
"""

from mae.engine import hooks, loops, optim
from mae.engine.runner import Runner

__all__ = ['Runner', 'hooks', 'loops', 'optim']
