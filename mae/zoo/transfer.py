"""One file over HTTPS, continued after a break.

The standard library's client, because what it lacks is little: pooch and requests neither continue
a broken download nor refuse a redirect that leaves HTTPS.
"""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

from mae.utils.errors import DownloadError
from mae.utils.text import readable_size
from mae.version import __version__
from mae.zoo.address import check_address, encoded, names_in, open_address

# Called with the bytes so far, and those of the whole file if the server states its length.
ProgressCallback = Callable[[int, int | None], None]

_BLOCK = 1 << 18


class UnreachableError(DownloadError):
    """The server cannot be reached."""


class _BrokenError(Exception):
    """The transfer ended too early: worth another attempt."""


@dataclass(frozen=True)
class Patience:
    """Timeouts and number of attempts.

    Attributes:
        timeout: seconds without a byte, or with too few of them, after which a connection is dead.
        slowest: bytes a second that are too few.
        attempts: number of consecutive attempts without a new byte before the transfer fails.
        pause: seconds before the second attempt; each further pause is twice as long.
    """

    timeout: float = 30.0
    slowest: float = 1024.0
    attempts: int = 4
    pause: float = 1.0


@dataclass(frozen=True)
class Received:
    """A server's metadata of a file.

    Attributes:
        has_end: True if the server stated the length; else the file may have been cut.
        names: the server's own names for it: in Content-Disposition, and after redirects.
    """

    has_end: bool
    names: tuple[str, ...] = ()


def transfer(
    url: str,
    file: IO[bytes],
    tag: Path,
    *,
    progress: ProgressCallback | None = None,
    patience: Patience | None = None,
) -> Received:
    """Download `url` into `file`, continuing after the bytes of an earlier attempt.

    Args:
        url: an `https://` address.
        file: open to read and write, without a buffer.
        tag: path of a file beside it, in which the version (ETag or date) is stored for `If-Range`.
        progress: called with (bytes so far, bytes of the file or None) after each block.
        patience: timeouts and number of attempts.

    Returns:
        The server's metadata of the file.

    Raises:
        UnreachableError: the server cannot be reached.
        DownloadError: the server refuses, gives a page, ends too early each time, or leads to
            another scheme; or the disk is full.
    """
    check_address(url)
    patience = patience or Patience()
    vain = 0
    while True:
        before = _size(file)
        try:
            return _attempt(url, file, tag, progress, patience)
        except URLError as error:
            if not before:
                host = urlsplit(url).hostname
                raise UnreachableError(f'cannot reach {host} ({error.reason})') from None
            reason = str(error.reason)
        except _BrokenError as error:
            reason = str(error)
        vain = 0 if _size(file) > before else vain + 1
        if vain == patience.attempts:
            raise DownloadError(
                f'{url}: {reason}; {_size(file)} bytes are kept: run it again to go on from there'
            )
        time.sleep(patience.pause * 2**vain / 2)


def _attempt(
    url: str,
    file: IO[bytes],
    tag: Path,
    progress: ProgressCallback | None,
    patience: Patience,
) -> Received:
    have = _size(file)
    version = tag.read_text(encoding='utf-8') if tag.exists() else ''
    request = Request(encoded(url), headers={'User-Agent': f'mae/{__version__}'})
    request.add_header('Accept-Encoding', 'identity')
    if have and version:  # without a version the rest may be of another file
        request.add_header('Range', f'bytes={have}-')
        request.add_header('If-Range', version)
    try:
        response = open_address(request, patience.timeout)
    except HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get('Content-Range') == f'bytes */{have}':
                return Received(has_end=True, names=_names(error.url, error.headers))
            if error.code == 416:
                _start_over(file, tag)
            if error.code in (408, 416, 429) or error.code >= 500:
                raise _BrokenError(f'{error.code} {error.reason}') from None
            raise DownloadError(f'{url}: {error.code} {error.reason}') from None
    except URLError:
        raise
    except (OSError, HTTPException) as error:
        raise _BrokenError(_reason(error, patience)) from None
    with response:
        if response.headers.get_content_type() == 'text/html':
            raise DownloadError(f'{url} answers with a page, not with a file')
        start, total = _extent(response, have)
        if start != have:
            _start_over(file, tag)
        _check_space(tag.parent, (total or 0) - start)
        tag.write_text(_version(response.headers), encoding='utf-8')
        done = _receive(response, file, start, total, progress, patience)
        names = _names(response.url, response.headers)
    if total is not None and done != total:
        raise _BrokenError(f'the connection ended after {done} of {total} bytes')
    return Received(total is not None or response.chunked, names)


def _receive(
    response: HTTPResponse,
    file: IO[bytes],
    done: int,
    total: int | None,
    progress: ProgressCallback | None,
    patience: Patience,
) -> int:
    """Append the body; returns the size of the file then, in bytes."""
    file.seek(done)
    since, fresh = time.monotonic(), 0
    while True:
        try:
            block = response.read1(_BLOCK)  # what is there, without waiting for all of it
        except (OSError, HTTPException) as error:
            raise _BrokenError(_reason(error, patience)) from None
        if not block:
            return done
        _write(file, block)
        done, fresh = done + len(block), fresh + len(block)
        if progress is not None:
            progress(done, total)
        waited = time.monotonic() - since
        if waited >= patience.timeout:
            if fresh < waited * patience.slowest:
                raise _BrokenError(f'only {fresh} bytes came in {waited:.0f} s')
            since, fresh = time.monotonic(), 0


def _write(file: IO[bytes], block: bytes) -> None:
    """Write all of `block`; a file without a buffer may take less at once."""
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise DownloadError(
            f'{Path(file.name).parent} takes no more: {error.strerror}; {_size(file)} bytes are '
            'kept: make room and run it again to go on from there'
        ) from None


def _extent(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the body begins in the file, and the length of the whole file."""
    if response.status == 206:
        match = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', response.headers.get('Content-Range', ''))
        if match is None or int(match[1]) != have:
            raise DownloadError(f'{response.url} sends another part of the file than it was asked')
        return have, int(match[2])
    length = response.headers.get('Content-Length', '')
    return 0, int(length) if length.isdecimal() else None


def _version(headers: HTTPMessage) -> str:
    """The version of the file for `If-Range`, a strong ETag or a date; '' without either."""
    tag = headers.get('ETag', '')
    return tag if tag.startswith('"') else headers.get('Last-Modified', '')


def _names(url: str | None, headers: Message) -> tuple[str, ...]:
    """What a server calls a file: after redirects, and in its Content-Disposition."""
    stated = headers.get_filename()
    return (*([stated] if stated else []), *names_in(url or ''))


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f'no room: {readable_size(needed)} are to come, and {folder} has '
            f'{readable_size(free)} free'
        )


def _start_over(file: IO[bytes], tag: Path) -> None:
    file.truncate(0)
    tag.unlink(missing_ok=True)


def _size(file: IO[bytes]) -> int:
    return file.seek(0, 2)


def _reason(error: Exception, patience: Patience) -> str:
    if isinstance(error, TimeoutError):
        return f'no byte came for {patience.timeout:g} s'
    return str(error) or type(error).__name__
