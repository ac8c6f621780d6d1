"""A copy of the state of a run in host memory, which the next step does not change."""

from typing import Any

import torch
from torch import Tensor


class Snapshot:
    """Copies nested dicts and lists; its buffers serve again at the next copy.

    On a GPU they are pinned, so that the copy runs at the speed of the bus.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], Tensor] = {}

    def take(self, value: Any) -> Any:
        """A copy that shares no memory with `value`; what shared memory in it shares it again.

        The copy before is written over.
        """
        self._seen: dict[tuple[Any, ...], Tensor] = {}
        self._used: set[tuple[Any, ...]] = set()
        try:
            # A buffer made in a validation must take the next state, too.
            with torch.inference_mode(False), torch.no_grad():
                copy = self._copy(value, ())
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                torch.cuda.current_stream().synchronize()
        finally:
            self._seen = {}
        self._buffers = {key: self._buffers[key] for key in self._used}
        return copy

    def _copy(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach(), place)
        if isinstance(value, dict):
            items = {key: self._copy(item, (*place, key)) for key, item in value.items()}
            if type(value) is dict:
                return items
            copy = type(value)(items)  # OrderedDict, Counter
            vars(copy).update(vars(value))  # a module's state dict has the versions of its parts
            return copy
        if type(value) in (list, tuple):
            return type(value)(self._copy(item, (*place, i)) for i, item in enumerate(value))
        return value  # numbers, strings, None: nothing changes them

    def _copy_tensor(self, value: Tensor, place: tuple[Any, ...]) -> Tensor:
        identity = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if value.numel() and identity in self._seen:
            return self._seen[identity]
        buffer = self._buffers.get(place)
        if buffer is None or buffer.dtype != value.dtype or buffer.shape != value.shape:
            buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._buffers[place] = buffer
        self._used.add(place)
        buffer.copy_(value, non_blocking=True)
        self._seen[identity] = buffer
        return buffer
