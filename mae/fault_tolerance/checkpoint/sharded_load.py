"""Reading a checkpoint that several processes wrote, in any number of processes.

The folder holds what `torch.distributed.checkpoint` (DCP) writes, so that torch reads it too, and
`values.pth`: everything that is no tensor. Each process plans its own reads with DCP: one of a
sharded model reads its shards, any other whole tensors.
"""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.tensor import DTensor
from torch.distributed.tensor import empty as empty_dtensor

from mae.fault_tolerance.checkpoint.folder import SHARDED
from mae.fault_tolerance.checkpoint.io import MANIFEST, Checkpoint, read_checkpoint
from mae.fault_tolerance.checkpoint.manifest import verify_checkpoint
from mae.fault_tolerance.checkpoint.safe_pickle import Refused, check_archive
from mae.fault_tolerance.checkpoint.shard_index import METADATA, read_shard_index
from mae.utils.errors import CheckpointError
from mae.utils.text import first_line

VALUES = 'values.pth'
KeyPath = tuple[Any, ...]  # the keys that lead to a tensor in a checkpoint


def is_sharded_checkpoint(path: Path) -> bool:
    """Whether a path is a folder that several processes wrote."""
    return path.is_dir() and (SHARDED in path.suffixes or (path / METADATA).is_file())


class ShardLayout:
    """How the weights of a model, and the averages of its optimizer, lie over the processes.

    Args:
        model: without its wrapper.
        params: the parameters in the order of the optimizer's groups.
    """

    def __init__(self, model: nn.Module, params: Iterable[Tensor] = ()) -> None:
        self._by_name = dict(model.named_parameters())
        self._by_number = dict(enumerate(params))

    def of(self, place: KeyPath, shape: torch.Size) -> DTensor | None:
        """The sharded parameter, of the same shape, to which a tensor of a checkpoint belongs."""
        found: Tensor | None
        if place[:2] == ('optimizer', 'state'):
            found = self._by_number.get(place[2])
        else:
            found = self._by_name.get(str(place[-1]).removeprefix('module.'))
        return found if isinstance(found, DTensor) and found.shape == shape else None


def read_sharded(path: Path, layout: ShardLayout | None = None, *, only: str = '') -> Checkpoint:
    """Read a folder that has been compared with its manifest.

    Args:
        layout: of the model that takes the tensors; by default they are whole.
        only: read the tensors below this key alone; the others are None.

    Raises:
        CheckpointError: it would run code, or its files do not go together.
    """
    shards = Shards(path)
    targets = {
        name: shards.new_tensor(name, layout)
        for name, place in shards.places.items()
        if not only or place[0] == only
    }
    shards.read_into(targets)
    for name, value in targets.items():
        _put(shards.values, shards.places[name], value, path)
    return {**shards.values, 'proof': MANIFEST}


def load_sharded(path: Path, layout: ShardLayout | None = None, *, only: str = '') -> Checkpoint:
    """Compare a folder with its manifest, then read it as `read_sharded` does.

    Raises:
        CheckpointError: it is damaged, has no manifest, would run code, or its files do not go
            together.
    """
    try:
        verify_checkpoint(path)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from None
    return read_sharded(path, layout, only=only)


class Shards:
    """The tensors of a folder by name, and its other values.

    Attributes:
        values: the checkpoint with None in place of each tensor.
        places: of the tensors, by name.

    Raises:
        CheckpointError: it would run code, or its files do not go together.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = read_shard_index(folder)
        found = read_checkpoint(folder / VALUES, verified=True)
        values, places = found.get('values'), found.get('places')
        if not isinstance(values, dict) or not isinstance(places, dict):
            raise CheckpointError(f'{folder / VALUES} holds no values of a checkpoint')
        self.values: Checkpoint = values
        self.places: dict[str, KeyPath] = {name: tuple(keys) for name, keys in places.items()}
        if self.places.keys() != self._index.state_dict_metadata.keys():
            raise CheckpointError(
                f'{folder} is of two checkpoints: {VALUES} names other tensors than {METADATA}'
            )

    def new_tensor(self, name: str, layout: ShardLayout | None = None) -> Tensor:
        """A tensor to read one into, empty: whole, or laid out as the parameter is."""
        stored: Any = self._index.state_dict_metadata[name]
        size, dtype = stored.size, stored.properties.dtype
        like = layout.of(self.places[name], size) if layout else None
        if like is None:
            return torch.empty(size, dtype=dtype)
        mesh, placements = like.device_mesh, like.placements
        return empty_dtensor(size, dtype=dtype, device_mesh=mesh, placements=placements)

    def read_into(self, targets: dict[str, Tensor]) -> None:
        """Fill tensors, by name.

        Raises:
            CheckpointError: see the class.
        """
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        planner.set_up_planner(targets, self._index, is_coordinator=True)
        try:
            for item in planner.create_local_plan().items:
                planner.resolve_tensor(item).detach().copy_(self._read(item))
        except Refused as error:
            raise Refused(f'{self._folder} refused: {error}') from None
        except OSError as error:
            why = error.strerror or error
            raise CheckpointError(f'{self._folder} cannot be read: {why}') from None
        except CheckpointError:
            raise
        except Exception as error:  # torch raises anything for a hostile or damaged file
            why = first_line(error)
            raise CheckpointError(f'{self._folder} is no readable checkpoint: {why}') from None

    def _read(self, item: ReadItem) -> Tensor:
        """The part of a stored shard that an item of DCP's plan asks for."""
        stored = self._index.storage_data[item.storage_index]
        with (self._folder / stored.relative_path).open('rb') as file:
            file.seek(stored.offset)
            content = file.read(stored.length)
        check_archive(BytesIO(content), len(content), f'{stored.relative_path} in the folder')
        shard: Tensor = torch.load(BytesIO(content), map_location='cpu', weights_only=True)
        for dim, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
            shard = shard.narrow(dim, start, length)
        return shard


def _put(checkpoint: Checkpoint, place: KeyPath, value: Tensor, path: Path) -> None:
    """Put a tensor where None holds its place."""
    inner: Any = checkpoint
    try:
        for key in place[:-1]:
            inner = inner[key]
        if inner[place[-1]] is not None:
            raise KeyError(place)
        inner[place[-1]] = value
    except (LookupError, TypeError):
        raise CheckpointError(f'{path} is mixed up: {VALUES} has no place {place}') from None
