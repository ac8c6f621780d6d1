"""A converted folder to the Hugging Face Hub, whole or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from mae.utils.errors import CheckpointError, UploadError
from mae.utils.text import one_line
from mae.version import __version__
from mae.zoo.formats import load_weights
from mae.zoo.formats.folder import CARD, CONFIG, PROCESSOR, WEIGHTS

_LICENSE = 'LICENSE'
_FILES = (WEIGHTS, CONFIG, PROCESSOR, CARD, _LICENSE)  # what a push takes from a folder
# As the Hub has it: no two dots or dashes in a row, none at an end.
_PART = r'[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*'
_NAME = re.compile(rf'(?=.{{1,96}}$){_PART}/{_PART}')
_LICENSE_LINE = re.compile(r'^license\s*:', re.MULTILINE)
_COMMIT = '/commit/'  # in the address to which a commit is sent
_UNREADABLE = (JSONDecodeError, LookupError, TypeError)  # what an answer of another kind causes
_ADVICE = re.compile(r' For more information check: \S+')  # of httpx: what the status means


@dataclass(frozen=True)
class Push:
    """What became of a folder.

    Attributes:
        url: address of the model on the Hub.
        files: names of those that were pushed.
        notes: what to know of it, a line each.
    """

    url: str
    files: tuple[str, ...]
    notes: list[str]


def push_to_hub(folder: str | Path, name: str, *, private: bool = False) -> Push:
    """Push a folder that `convert` wrote for transformers or timm, in one commit.

    The token is that of `hf auth login`, or `HF_TOKEN`; `HF_ENDPOINT` is another Hub. The weights
    are verified first, by the manifest in them.

    Args:
        folder: with `model.safetensors`, `config.json` and the card `README.md`. Besides these its
            `preprocessor_config.json` and `LICENSE` are pushed, nothing else.
        name: `OWNER/NAME`; it is made if it is not there.
        private: whether only its owner can see it, where it is made.

    Raises:
        CheckpointError: it is no such folder, or its weights are damaged.
        ImportError: huggingface_hub is not installed; says how to install it.
        UploadError: there is no token, or the Hub cannot be reached or refuses; no commit was made,
            unless the message says that this is not known.
        ValueError: the name is none that the Hub takes.
    """
    folder = Path(folder).expanduser()
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(
            f'give OWNER/NAME in at most 96 letters, digits, _ and single - or ., not {name!r}'
        )
    files, card = _files_of(folder), _card_of(folder)
    try:
        from huggingface_hub import HfApi, get_token
    except ImportError:
        raise ImportError('pushing needs huggingface_hub: pip install huggingface_hub') from None
    _require_token(get_token())
    load_weights(folder)
    api = HfApi(library_name='mae', library_version=__version__)
    with _one_line_errors(name):
        url = str(api.create_repo(name, private=private or None, exist_ok=True))
        if private and not api.model_info(name).private:
            raise UploadError(f'{name} is on the Hub already, and public: nothing was pushed')
    with _one_line_errors(name, uploads=True):
        message = 'Upload a model converted by mae'
        api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(files), commit_message=message
        )
    return Push(url, files, _notes(folder, files, card))


def _require_token(token: str | None) -> None:
    """Refuse a token that no request can carry.

    Raises:
        UploadError: there is none, or it has other characters than those of a token.
    """
    how = 'run `hf auth login`, or set HF_TOKEN'
    if not token:
        raise UploadError(f'there is no token of the Hub: {how}')
    if wrong := next((letter for letter in token if not '!' <= letter <= '~'), None):
        raise UploadError(
            f'the token of the Hub has the character {wrong!a}, which no token has: {how}'
        )


def _files_of(folder: Path) -> tuple[str, ...]:
    """Names of the files to push.

    Raises:
        CheckpointError: one is missing that must be there.
    """
    how = '`mae zoo convert CHECKPOINT FOLDER --to transformers`, or timm, writes one'
    if not folder.is_dir():
        what = 'is a file' if folder.exists() else 'is not there'
        raise CheckpointError(f'{folder} {what}: give a folder; {how}')
    for name in (WEIGHTS, CONFIG, CARD):
        if not (folder / name).is_file():
            raise CheckpointError(f'{folder} has no {name}; {how}')
    return tuple(name for name in _FILES if (folder / name).is_file())


def _card_of(folder: Path) -> str:
    """The text of its model card.

    Raises:
        CheckpointError: it is no UTF-8, which the Hub refuses.
    """
    path = folder / CARD
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise CheckpointError(f'{path} is no text in UTF-8: byte {error.start}') from None


@contextmanager
def _one_line_errors(name: str, *, uploads: bool = False) -> Iterator[None]:
    """Errors of huggingface_hub, and of the library by which it speaks to the Hub, as ours."""
    from huggingface_hub.errors import HfHubHTTPError

    http_errors: Any = HfHubHTTPError.__bases__  # of httpx, or of requests before version 1.0
    try:
        yield
    except UploadError:
        raise
    except (OSError, RuntimeError, ValueError, *_UNREADABLE, *http_errors) as error:
        what = 'nothing was committed'
        if uploads and _may_be_committed(error):
            what = 'look at its page, the files may have been committed'
        raise UploadError(f'{name}: {what}: {_why(error)}') from error


def _may_be_committed(error: Exception) -> bool:
    """Whether the commit may have been sent, and the Hub has not refused it."""
    if isinstance(error, _UNREADABLE):
        return True
    response = getattr(error, 'response', None)
    if response is not None:
        return response.status_code >= 500 and _COMMIT in str(response.url)
    try:
        request = getattr(error, 'request', None)
    except RuntimeError:  # httpx knows none
        return False
    return _COMMIT in str(getattr(request, 'url', ''))


def _why(error: Exception) -> str:
    """The message, and that of its cause, in one line."""
    if isinstance(error, _UNREADABLE):
        return (
            f'the answer is none of a Hub ({type(error).__name__}: {one_line(error)}); a proxy, or '
            'another address in HF_ENDPOINT, may have given it'
        )
    # That of a status has one which says the same.
    cause = error.__cause__ if getattr(error, 'response', None) is None else None
    parts = [_ADVICE.sub('', one_line(part)) for part in (error, cause) if part is not None]
    return ' '.join(dict.fromkeys(parts))


def _notes(folder: Path, files: tuple[str, ...], card: str) -> list[str]:
    notes = []
    if not _LICENSE_LINE.search(card) and _LICENSE not in files:
        notes.append(f'{CARD} names no licence: without one nobody may use the weights')
    if left := sorted({path.name for path in folder.iterdir()} - {*files}):
        notes.append(f'not pushed: {", ".join(left)}')
    return notes
