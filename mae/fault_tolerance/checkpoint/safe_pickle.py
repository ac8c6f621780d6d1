"""Which classes and functions a pickle may use: a check before a file is read, and placeholders.

torch's restricted unpickler is what keeps code from running. `check_pickle` comes before it: its
list is shorter, its error names all refused names at once, it explains files on which torch merely
fails, and it compares the unpacked size of an archive with that of the file.

mmengine and mmpretrain pickle their loss history (a class, its methods, numpy arrays) beside the
weights, timm and the authors their command line with its paths, Lightning its hyperparameters.
None of it is needed here, and the real classes would run code: a `Placeholder` takes their place.
"""

import pickletools
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch

from mae.utils.errors import CheckpointError

HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
_RENAMED = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}  # Python 2's names
_STRINGS = frozenset({'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE',
                      'SHORT_BINUNICODE', 'BINUNICODE8'})  # fmt: skip
_ZIP = b'PK\x03\x04'
_GROWTH = 4  # times the file's size that its archive may unpack to; torch's are not compressed
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, the keys of its storages


class Placeholder:
    """Empty object in place of one of a checkpoint."""

    def __new__(cls, *args: object) -> 'Placeholder':
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def _placeholder_attribute(owner: object, name: object = None, *unused: object) -> Placeholder:
    """For `getattr(HistoryBuffer, 'mean')`: a placeholder of a method."""
    if owner is not Placeholder or not isinstance(name, str):
        raise UnpicklingError('GLOBAL builtins.getattr of what is no loss history')
    return Placeholder()


# By the name in the pickle. A config keeps its content, as a plain dict.
PLACEHOLDERS: dict[str, object] = {
    'builtins.getattr': _placeholder_attribute,
    'argparse.Namespace': Placeholder,
    'datetime.datetime': Placeholder,
    'datetime.timedelta': Placeholder,
    'torch.torch_version.TorchVersion': Placeholder,
    **{
        f'{module}.{kind}{system}Path': Placeholder
        for module in ('pathlib', 'pathlib._local')
        for kind in ('', 'Pure')
        for system in ('', 'Posix', 'Windows')
    },
    **{
        f'{package}.AttributeDict': dict
        for package in (
            'pytorch_lightning.utilities.parsing',
            'lightning_fabric.utilities.data',
            'lightning.fabric.utilities.data',
        )
    },
    HISTORY: Placeholder,
    'mmengine.config.config.Config': Placeholder,
    'mmengine.config.config.ConfigDict': dict,
    'mmcv.utils.config.ConfigDict': dict,
    'numpy.dtype': Placeholder,
    'numpy.ndarray': Placeholder,
    'numpy.core.multiarray.scalar': Placeholder,
    'numpy.core.multiarray._reconstruct': Placeholder,
    'numpy._core.multiarray.scalar': Placeholder,
    'numpy._core.multiarray._reconstruct': Placeholder,
}

_ALLOWED = frozenset({
    '_codecs.encode',
    'builtins.complex',
    'builtins.set',
    'collections.Counter',
    'collections.OrderedDict',
    'torch.Size',
    'torch.device',
    'torch.nn.parameter.Parameter',
    'torch.serialization._get_layout',
    'torch.storage.TypedStorage',
    'torch.storage.UntypedStorage',
    'torch._utils._rebuild_parameter',
    'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2',
    'torch._utils._rebuild_tensor_v3',
    *PLACEHOLDERS,
})  # fmt: skip


def placeholder_globals() -> list[Any]:
    """For `torch.serialization.safe_globals`."""
    return [(placeholder, name) for name, placeholder in PLACEHOLDERS.items()]


class Refused(CheckpointError):  # noqa: N818
    """A file whose pickle would run code."""


def check_pickle(path: Path) -> None:
    """Refuse a `.pth` that would run code or fill the memory.

    Raises:
        Refused: names what it would run.
        CheckpointError: it is no checkpoint, or unpacks to far more than its size.
    """
    with path.open('rb') as file:
        is_zip = file.read(len(_ZIP)) == _ZIP  # by its first bytes alone, as torch does
    if is_zip:
        with path.open('rb') as file:
            check_archive(file, path.stat().st_size, path)
    elif path.stat().st_size >= tarfile.BLOCKSIZE and tarfile.is_tarfile(path):
        raise Refused('it is a tar archive of torch before 0.4, which cannot be read without code')
    else:
        with path.open('rb') as file:
            _check_legacy(file)


def check_growth(path: Path, size: int) -> None:
    """Refuse a file that would unpack to `size` bytes, if that is far more than its own size."""
    _check_growth(path, path.stat().st_size, size)


def check_archive(file: IO[bytes], file_size: int, name: object) -> None:
    """Refuse an archive of torch that would run code or fill the memory.

    Args:
        file_size: in bytes.
        name: of the file, for messages.

    Raises:
        Refused: names what it would run.
        CheckpointError: it is no checkpoint, or unpacks to far more than its size.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_growth(name, file_size, sum(member.file_size for member in members))
        names = [member.filename for member in members]
        if any('/code/' in name or name.endswith('/constants.pkl') for name in names):
            raise Refused('it is a TorchScript archive, a program')
        found = [member for member in members if member.filename.endswith('.pkl')]
        if not found:
            raise CheckpointError(f'{name} is not a readable checkpoint: a zip without data.pkl')
        for member in found:
            _require_allowed(globals_of(BytesIO(archive.read(member))))


def _check_growth(name: object, file_size: int, size: int) -> None:
    if size > _GROWTH * file_size:
        raise CheckpointError(f'{name} refused: {file_size} bytes would unpack to {size}')


def _check_legacy(file: IO[bytes]) -> None:
    """Check the pickles at the beginning of a file of torch before 1.6, or of `pickle.dump`."""
    for number in range(_LEGACY_PICKLES):
        try:
            names = set(globals_of(file))
        except ValueError:
            if number == 0:
                raise
            return  # after the pickles come the raw values of the tensors
        _require_allowed(names)


def globals_of(file: IO[bytes]) -> Iterator[str]:
    """Names of the classes and functions that a pickle uses.

    Raises:
        ValueError: it is no pickle, or cut.
    """
    strings: list[object] = ['?', '?']  # seen so far, for the opcode that takes its name from them
    memo: dict[int, object] = {}
    last: object = None
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ('GLOBAL', 'INST'):
            yield _name(*argument.split(' ', 1))
        elif name == 'STACK_GLOBAL':
            yield _name(*map(str, strings[-2:]))
        elif name.startswith('EXT'):
            yield f'copyreg extension {argument}'
        elif name == 'MEMOIZE':
            memo[len(memo)] = last
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            memo[argument] = last
        if name in ('GET', 'BINGET', 'LONG_BINGET'):
            strings.append(memo.get(argument, '?'))
        elif name in _STRINGS:
            last = argument
            strings.append(last)


def _name(module: str, name: str) -> str:
    return f'{_RENAMED.get(module, module)}.{name}'


def _require_allowed(names: Iterable[str]) -> None:
    found = set(names)
    refused = sorted(name for name in found if not _is_allowed(name))
    if 'builtins.getattr' in found and HISTORY not in found:
        refused.append('builtins.getattr')
    if refused:
        raise Refused(f'it asks to run {", ".join(refused[:3])}')


def _is_allowed(name: str) -> bool:
    if name in _ALLOWED:
        return True
    module, _, rest = name.rpartition('.')
    if module != 'torch':
        return False
    return rest.endswith('Storage') or isinstance(getattr(torch, rest, None), torch.dtype)
