"""A converted folder to the Hugging Face Hub, whole or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mae.utils.errors import CheckpointError, UploadError
from mae.utils.text import one_line
from mae.version import __version__
from mae.zoo.formats import load_weights
from mae.zoo.formats.folder import CARD, CONFIG, PROCESSOR, WEIGHTS
from mae.zoo.formats.hub_card import LICENSE_LINE

_LICENSE = 'LICENSE'
_FILES = (WEIGHTS, CONFIG, PROCESSOR, CARD, _LICENSE)  # what a push takes from a folder
# As the Hub has it: no two dots or dashes in a row, none at an end.
_PART = r'[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*'
_NAME = re.compile(rf'(?=.{{1,96}}$){_PART}/{_PART}')


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
        UploadError: there is no token, or the Hub cannot be reached or refuses; no commit was made.
        ValueError: the name is none that the Hub takes.
    """
    folder = Path(folder).expanduser()
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(
            f'give OWNER/NAME in at most 96 letters, digits, _ and single - or ., not {name!r}'
        )
    files = _files_of(folder)
    try:
        from huggingface_hub import HfApi, get_token
    except ImportError:
        raise ImportError('pushing needs huggingface_hub: pip install huggingface_hub') from None
    if not get_token():
        raise UploadError('there is no token of the Hub: run `hf auth login`, or set HF_TOKEN')
    load_weights(folder)
    api = HfApi(library_name='mae', library_version=__version__)
    with _one_line_errors(name):
        url = str(api.create_repo(name, private=private or None, exist_ok=True))
        if private and not api.model_info(name).private:
            raise UploadError(f'{name} is on the Hub already, and public: nothing was pushed')
        message = 'Upload a model converted by mae'
        api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(files), commit_message=message
        )
    return Push(url, files, _notes(folder, files))


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


@contextmanager
def _one_line_errors(name: str) -> Iterator[None]:
    """Errors of huggingface_hub, and of the library by which it speaks to the Hub, as ours."""
    from huggingface_hub.errors import HfHubHTTPError

    http_errors: Any = HfHubHTTPError.__bases__  # of httpx, or of requests before version 1.0
    try:
        yield
    except UploadError:
        raise
    except (OSError, RuntimeError, ValueError, *http_errors) as error:
        why = ' '.join(one_line(part) for part in (error, error.__cause__) if part is not None)
        raise UploadError(f'{name}: nothing was committed: {why}') from error


def _notes(folder: Path, files: tuple[str, ...]) -> list[str]:
    notes = []
    if LICENSE_LINE in (folder / CARD).read_text(encoding='utf-8') and _LICENSE not in files:
        notes.append(f'{CARD} names no licence: without one nobody may use the weights')
    if left := sorted({path.name for path in folder.iterdir()} - {*files}):
        notes.append(f'not pushed: {", ".join(left)}')
    return notes
