"""The processes that save a checkpoint together."""

import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from mmengine.dist import all_gather_object, broadcast_object_list
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

T = TypeVar('T')
# torch warns at each save of a run of one process.
warnings.filterwarnings('ignore', 'torch.distributed is disabled, unavailable', UserWarning)


class SaveGroup:
    """The processes of a run, on a group of their own for saves.

    Collectives of the training run at the same time as those of the thread that saves: on one group
    they would cross. The group is of gloo, whose collectives need no GPU.

    Args:
        seconds: after which a process that is silent in a save counts as dead.
    """

    def __init__(self, seconds: float) -> None:
        self._group: Any = None
        self.rank, self.count = 0, 1
        if dist.is_initialized():
            self._group = dist.new_group(backend='gloo', timeout=timedelta(seconds=seconds))
            self.rank, self.count = dist.get_rank(), dist.get_world_size()

    def save(self, tensors: dict[str, Tensor], writer: FileSystemWriter) -> None:
        """Write the tensors of all processes.

        Raises:
            OSError: the disk refused in one of them.
        """
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        try:
            save(
                tensors,
                storage_writer=writer,
                planner=planner,
                process_group=self._group,
                no_dist=self._group is None,
            )
        except CheckpointException as error:
            rank, (cause, _) = min(error.failures.items(), key=lambda item: item[0])
            if isinstance(cause, OSError):
                raise OSError(cause.errno, f'{cause.strerror} (process {rank})') from None
            raise RuntimeError(f'process {rank}: {cause}') from cause

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in each."""
        found: list[T] = all_gather_object(value, self._group)
        return found

    def on_first(self, function: Callable[[], T]) -> T:
        """Let the first process call `function`; all get what it returns, or raise its error."""
        outcome: list[Any] = [None, None]
        if not self.rank:
            try:
                outcome[0] = function()
            except OSError as error:
                outcome[1] = OSError(error.errno, error.strerror or str(error))
            except Exception as error:  # the others wait for word of it, whatever it is
                outcome[1] = RuntimeError(f'{type(error).__name__}: {error}')
        broadcast_object_list(outcome, 0, self._group)
        if outcome[1] is not None:
            raise outcome[1]
        found: T = outcome[0]
        return found
