"""Downloads a published file once for all processes; once verified, it gets its name."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from mae.utils.cache_dir import cache_dir
from mae.utils.digest import file_digest
from mae.utils.errors import DownloadError
from mae.utils.files import is_still_at
from mae.zoo.address import file_name
from mae.zoo.checksum import Checksum, checksum_in, verify_checksum
from mae.zoo.transfer import Patience, ProgressCallback, UnreachableError, transfer

_TERMS = {
    'Apache-2.0': 'https://www.apache.org/licenses/LICENSE-2.0',
    'CC-BY-NC-4.0': 'https://creativecommons.org/licenses/by-nc/4.0/, not for commercial use',
}


@dataclass(frozen=True)
class Remote:
    """A published file.

    Attributes:
        url: `https://` address at which it was published.
        checksum: as published; None if none was.
        license: SPDX identifier of its terms, if they are known.
        mirror: address of a folder that has the file too, and is used instead of `url`.
    """

    url: str
    checksum: Checksum | None = None
    license: str = ''
    mirror: str = ''

    @property
    def file(self) -> str:
        """Name of the file."""
        return file_name(self.url)

    @property
    def address(self) -> str:
        """Where it is fetched from."""
        if not self.mirror:
            return self.url
        folder = urlsplit(self.mirror)  # its query, such as a token, stays behind the path
        return folder._replace(path=f'{folder.path.rstrip("/")}/{quote(self.file)}').geturl()

    @property
    def terms(self) -> str:
        """Its licence in one line, with the address of the text."""
        terms = f' ({_TERMS[self.license]})' if self.license in _TERMS else ''
        return f'licence: {self.license or "not stated"}{terms}'


def cache_folder() -> Path:
    """Where weights are kept: `weights` in MAE_HOME, see `mae.utils.cache_dir`."""
    return cache_dir() / 'weights'


def download(
    remote: Remote,
    folder: Path,
    *,
    progress: ProgressCallback | None = None,
    say: Callable[[str], None] = print,
    patience: Patience | None = None,
) -> Path:
    """A published file, from the folder or from the net.

    Until it is whole and verified it is called `.NAME.part`; a later call goes on with that. One
    that is in the folder already, say on a machine without network, is verified again.

    Args:
        remote: address, checksum, licence and mirror of the file.
        folder: for the file, and beside it its licence, source and SHA-256 (`NAME.LICENSE.txt`),
            also of one that was put there by hand, if the folder can be written to.
        progress: called with (bytes so far, bytes of the file or None) as they arrive.
        say: called with each line of notes for the user.
        patience: timeouts and number of attempts.

    Raises:
        DownloadError: it cannot be fetched, or is not what was published; says what to do.
    """
    path = folder / remote.file
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with _part_of(path, say) as part:
            if part is not None:
                _fill(remote, part, path, progress, say, patience)
                return path
    if remote.checksum is not None:  # also what another process fetched, or a person put there
        try:
            verify_checksum(path, remote.checksum)
        except DownloadError as error:
            raise DownloadError(f'{error}; remove it to fetch it again') from None
    if not _licence_path(path).exists() and os.access(folder, os.W_OK):
        _write_licence(remote, path, path)
    return path


def _fill(
    remote: Remote,
    part: IO[bytes],
    path: Path,
    progress: ProgressCallback | None,
    say: Callable[[str], None],
    patience: Patience | None,
) -> None:
    """Fetch, verify, write the licence, and only then give the file its name."""
    tag = path.with_name(f'.{path.name}.tag')
    try:
        received = transfer(remote.address, part, tag, progress=progress, patience=patience)
    except UnreachableError as error:
        where = f'fetch {remote.url} on another machine and put it at {path}'
        raise DownloadError(f'{error}: {where}') from None
    os.fsync(part.fileno())
    tag.unlink(missing_ok=True)
    unfinished = Path(part.name)
    checksum, where = remote.checksum, ''
    if checksum is None:  # of an address that leads to a file of another name
        named = {name: checksum_in(name) for name in received.names}
        where, checksum = next(((n, known) for n, known in named.items() if known), ('', None))
    if checksum is None and not received.has_end:
        unfinished.unlink()
        raise DownloadError(
            f'{remote.address}: the server tells no length, and no checksum is published, so that '
            'nothing shows whether the file is whole; deleted'
        )
    if checksum is not None:
        try:
            verify_checksum(unfinished, checksum)
        except DownloadError as error:
            unfinished.unlink()
            called = f' as {where}' if where else ''
            raise DownloadError(
                f'{error}; deleted (it came from {remote.address}{called})'
            ) from None
    if where:
        say(f'{path.name}: the server calls it {where}, which its {checksum} agrees with')
    _write_licence(remote, unfinished, path)
    os.replace(unfinished, path)


def _write_licence(remote: Remote, content: Path, path: Path) -> None:
    """Write the terms beside a file."""
    lines = path.name, f'from {remote.url}', remote.terms, f'SHA-256: {file_digest(content)}'
    _licence_path(path).write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _licence_path(path: Path) -> Path:
    return path.with_name(f'{path.name}.LICENSE.txt')


@contextmanager
def _part_of(path: Path, say: Callable[[str], None]) -> Iterator[IO[bytes] | None]:
    """The partial file, locked against other writers; None once another process finished it."""
    name = path.with_name(f'.{path.name}.part')
    while True:
        with open(name, 'r+b', buffering=0, opener=_opener) as part:
            _lock(part, path, say)
            finished = path.is_file()
            if not finished and not is_still_at(name, part.fileno()):
                continue  # the process that had the lock found it wrong and deleted it
            try:
                yield None if finished else part
            finally:
                if is_still_at(name, part.fileno()) and not name.stat().st_size:
                    name.unlink()
            return


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT, 0o666)


def _lock(part: IO[bytes], path: Path, say: Callable[[str], None]) -> None:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f'another process is fetching {path.name}: waiting for it')
        fcntl.flock(part, fcntl.LOCK_EX)
