"""What a run's config inherits as a whole, and the values in which it differs from that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mae.config.diff import config_differences
from mae.config.files import shipped_configs
from mae.config.load import load_config
from mae.config.source import read_source

# Of a start, not of what is trained.
_OF_A_START = ('work_dir', 'launcher', 'resume', 'resume_anyway', 'experiment_name', 'log_level')
_LONGEST = 160  # letters of a value that are shown

Differences = list[tuple[str, str, str]]


def parent_of(path: Path) -> Path | None:
    """The config that a file inherits as a whole; of a shipped one without such a parent, itself.

    Raises:
        ConfigError: the file or one of its bases cannot be read.
    """
    bases = [base.path for base in read_source(path.resolve()).bases]
    if len(bases) == 1 and '_base_' not in bases[0].parts:
        return bases[0]
    shipped = [each.resolve() for each in shipped_configs()]
    return path.resolve() if path.resolve() in shipped else None


def differences_from_parent(config: Config) -> tuple[str, Differences]:
    """Name of the parent, and key, value there and value here; '' and none without a parent.

    Raises:
        ConfigError: a file in the line of inheritance cannot be read any more.
    """
    path = Path(config.filename or '')
    parent = parent_of(path) if path.is_file() else None
    if parent is None:
        return '', []
    return parent.stem, differences_from(parent, config.to_dict())


def differences_from(parent: Path, values: Mapping[str, Any]) -> Differences:
    """Key, value in the parent and in the values of a run, wherever they differ.

    Raises:
        ConfigError: the parent cannot be read.
    """
    found = config_differences(load_config(parent).to_dict(), values)
    return [
        (one.key, short(one.first), short(one.second))
        for one in found
        if not is_of_a_start(one.key)
    ]


def is_of_a_start(key: str) -> bool:
    """Whether a dotted key says where and how a run is started, not what is trained."""
    return key.partition('.')[0] in _OF_A_START


def short(value: Any) -> str:
    """A value for a table, cut if it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 2]} …'
