"""A checkpoint taken apart: its tensors, and all other values."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.sharded_load import KeyPath
from mae.utils.sharded import local


@dataclass
class Parts:
    """A checkpoint taken apart.

    Attributes:
        tensors: by name; those that this process writes.
        values: the checkpoint with None in place of each tensor.
        places: the keys that lead to each tensor, by its name.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: Checkpoint = field(default_factory=dict)
    places: dict[str, KeyPath] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> 'Parts':
        """Take a checkpoint apart, without copying its tensors."""
        parts = cls()
        parts.values = parts._without_tensors(checkpoint, ())
        return parts

    def keep_own(self, shared: Collection[str], rank: int, count: int) -> None:
        """Keep what this process writes: its shards, and some of the tensors that all have.

        Of these each goes to the process with the fewest bytes so far.

        Args:
            shared: names of parameters. They and the optimizer's averages are equal in all
                processes; other whole tensors, such as statistics, are the first process's own.
            rank: number of this process.
            count: of processes.
        """
        loads = [0] * count
        for name in sorted(self.tensors, key=lambda n: (-_bytes(self.tensors[n]), n)):
            if isinstance(self.tensors[name], DTensor):
                continue
            place, writer = self.places[name], 0
            if place[0] == 'optimizer' or str(place[-1]).removeprefix('module.') in shared:
                writer = loads.index(min(loads))
            loads[writer] += _bytes(self.tensors[name])
            if writer != rank:
                del self.tensors[name]

    def copy_to_host(self, copy: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        """Replace the tensors by copies of what this process holds of each."""
        copies = copy({name: local(value) for name, value in self.tensors.items()})
        for name, value in self.tensors.items():
            own = copies[name]
            if isinstance(value, DTensor):  # `from_local` would move the copy back to the GPU
                own = DTensor(own, value._spec, requires_grad=False)
            self.tensors[name] = own

    def _without_tensors(self, value: Any, place: KeyPath) -> Any:
        if isinstance(value, Tensor):
            name = '.'.join(map(str, place))
            assert name not in self.places, name
            self.tensors[name], self.places[name] = value, place
            return None
        if isinstance(value, Mapping):
            return {key: self._without_tensors(v, (*place, key)) for key, v in value.items()}
        if isinstance(value, list):
            return [self._without_tensors(v, (*place, i)) for i, v in enumerate(value)]
        return value


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()
