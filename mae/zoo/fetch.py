"""Published weights as local files; licence and verification are printed to stderr."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mae.utils.errors import CheckpointError
from mae.utils.suggest import nearest
from mae.zoo.address import check_address, names_in
from mae.zoo.checksum import checksum_in, parse_checksum
from mae.zoo.download import Remote, cache_folder, download
from mae.zoo.index import Entry, entries, find_entry
from mae.zoo.transfer import ProgressCallback


@dataclass(frozen=True)
class Fetched:
    """A file on this machine, and how it was verified, in words; '' if it was not."""

    path: Path
    proof: str


def fetch(source: Entry | str, dest: str | Path | None = None, mirror: str | None = None) -> Path:
    """The file of an entry or of an address, downloaded unless it is there already.

    Args:
        source: an entry of the index, or an `https://` address; it may end in
            `#sha256=DIGITS`, against which the file is then verified.
        dest: folder for the file (default: `mae.zoo.download.cache_folder()`).
        mirror: address of a folder with the files of the index, to download from instead of the
            published addresses (default: MAE_MIRROR, if it is set).

    Returns:
        Path of the verified file.

    Raises:
        DownloadError: it cannot be fetched, or is not what was published; says what to do.
    """
    return fetch_verified(source, dest, mirror).path


def fetch_verified(
    source: Entry | str, dest: str | Path | None = None, mirror: str | None = None
) -> Fetched:
    """Like `fetch`, with how the file was verified."""
    entry = find_entry(source) if isinstance(source, str) else source
    if entry is None:
        remote, folder = _unlisted(str(source))
    else:
        checksum = parse_checksum(entry.checksum) if entry.checksum else None
        mirror = mirror if mirror is not None else os.environ.get('MAE_MIRROR', '')
        remote, folder = Remote(entry.url, checksum, entry.license, mirror), cache_folder()
    folder = Path(dest).expanduser() if dest is not None else folder
    with _progress_bar(remote.file) as progress:
        path = download(remote, folder, progress=progress, say=_say)
    _say(f'{path.name}: {remote.terms}')
    _say(f'{path.name}: {_verdict(remote)}')
    known, where = remote.checksum, 'in its address' if entry is None else 'published'
    return Fetched(path, f'the {known.label} {where}' if known else '')


def find_file(source: str | Path) -> Fetched:
    """Weights as a file or folder on this machine.

    Args:
        source: path, name of `list_models`, or address; the last two are fetched.

    Raises:
        CheckpointError: there is nothing of that name; suggests the nearest.
        DownloadError: it cannot be fetched, or is not what was published.
    """
    text = str(source)
    path = Path(text).expanduser()
    if text and path.exists():
        return Fetched(path, '')
    if '://' in text or find_entry(text) is not None:
        return fetch_verified(text)
    names = [entry.name for entry in entries()]
    near = nearest(path.stem, names, limit=2) if text and path.name == text else []
    hint = f'; nearest models: {", ".join(near)}' if near else ''
    raise CheckpointError(f'no such checkpoint: {text or repr(text)}{hint}')


def _unlisted(url: str) -> tuple[Remote, Path]:
    """A file that the index does not list, and a folder for it alone: its name may be another's."""
    url, fragment = urldefrag(url.strip())
    check_address(url)
    entry = find_entry(urlsplit(url)._replace(query='').geturl())
    checksum = next(filter(None, map(checksum_in, names_in(url))), None)
    if fragment:
        checksum = parse_checksum(unquote(fragment).replace('=', ':'))
    elif entry is not None and entry.checksum:
        checksum = parse_checksum(entry.checksum)
    folder = cache_folder() / hashlib.sha256(url.encode()).hexdigest()[:8]
    return Remote(url, checksum, entry.license if entry else ''), folder


def _verdict(remote: Remote) -> str:
    """How far the file is verified."""
    if remote.checksum is None:
        return 'NOT VERIFIED: no checksum is published for it'
    weak = ', a weak check: it finds damage, not forgery' if remote.checksum.is_weak else ''
    return f'verified: its {remote.checksum}{weak}'


@contextmanager
def _progress_bar(name: str) -> Iterator[ProgressCallback]:
    columns = TextColumn('{task.description}'), BarColumn(), DownloadColumn()
    rate = TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, *rate, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None, visible=False)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield show


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # beside results on stdout
