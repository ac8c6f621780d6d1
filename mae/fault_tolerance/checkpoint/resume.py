"""Which checkpoint a run continues from."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mae.fault_tolerance.checkpoint.io import load_checkpoint
from mae.fault_tolerance.checkpoint.manifest import Damaged, Unverifiable, verify
from mae.fault_tolerance.checkpoint.store import Found, list_checkpoints, newest_verified, set_aside
from mae.utils.errors import CheckpointError

Say = Callable[[str], object]


@dataclass(frozen=True)
class Choice:
    """A checkpoint to continue from.

    Attributes:
        path: of it.
        verified: it is what its manifest says.
    """

    path: Path
    verified: bool


def choose_checkpoint(work_dir: Path, steps_per_epoch: int, warn: Say) -> Choice | None:
    """The checkpoint of the latest step that is good; damaged ones are set aside.

    Names and manifests decide, not `last_checkpoint`, which may be missing, old or garbage.

    Args:
        work_dir: folder.
        steps_per_epoch: of the run.
        warn: hears of every checkpoint that was passed over, and why.

    Returns:
        None if there is none, or none that is good.

    Raises:
        CheckpointError: the only ones left could not be read, for the time being, or hold
            weights that are not finite.
    """
    passed_over = []
    for found in list_checkpoints(work_dir, steps_per_epoch, sure=True):
        try:
            choice = _examine(found)
        except (OSError, _NotFinite) as error:
            warn(f'{found.path} is passed over: {error}')
            passed_over.append(str(error))
        except CheckpointError as error:
            warn(f'{error}; {_put_aside(found.path)}')
        else:
            if not choice.verified:
                warn(f'{found.path} has no manifest; its own checksums are right, so it is used')
            return choice
    if passed_over:
        raise CheckpointError(f'{work_dir} holds no checkpoint to resume: {passed_over[0]}')
    return None


def check_given(path: Path, warn: Say) -> Choice:
    """Examine the checkpoint that the user names.

    Raises:
        CheckpointError: it is damaged; names the newest good one beside it.
    """
    if not path.is_file():
        raise CheckpointError(f'no such checkpoint: {path}{_instead(path)}')
    try:
        verify(path)
    except Unverifiable:
        warn(f'{path} has no manifest that tells whether it is whole')
        try:
            _check_archive(path)
        except Damaged as error:
            raise CheckpointError(f'{error}{_instead(path)}') from None
        return Choice(path, verified=False)
    except Damaged as error:
        raise CheckpointError(f'{error}{_instead(path)}') from None
    return Choice(path, verified=True)


class _NotFinite(Exception):  # noqa: N818
    pass


def _examine(found: Found) -> Choice:
    if not found.path.is_file():
        raise Damaged(f'{found.path} is not a file')
    try:
        record = verify(found.path)
    except Unverifiable:
        _check_archive(found.path)
        load_checkpoint(found.path)
        return Choice(found.path, verified=False)
    if not record.finite:
        raise _NotFinite('its weights are not finite')
    return Choice(found.path, verified=True)


def _check_archive(path: Path) -> None:
    """The checksums that a zip archive has of its own."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Damaged(f'{path} is damaged: {error}') from None
    if bad is not None:
        raise Damaged(f'{path} is damaged: the checksum of {bad} in it does not fit')


def _put_aside(path: Path) -> str:
    try:
        return f'set aside as {set_aside(path, "corrupt").name}'
    except OSError as error:
        return f'it could not be set aside ({error.strerror})'


def _instead(path: Path) -> str:
    good = newest_verified(path.parent) if path.parent.is_dir() else None
    return f'; the newest good one there is {good.path}' if good else '; there is no good one there'
