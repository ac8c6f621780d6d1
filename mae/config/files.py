"""Finds configs: by path, or by the name of a shipped one."""

import re
from pathlib import Path

from mae.utils.errors import ConfigError
from mae.utils.package_files import package_path
from mae.utils.suggest import is_typo, nearest

_SIZES = {'t': 'tiny', 's': 'small', 'b': 'base', 'l': 'large', 'h': 'huge'}
_SCOPE = 'mae::'
_FORMATS = ('.py', '.json', '.yaml', '.yml')


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Args:
        name: a path, or the name of a shipped config with or without folder and `.py`, alone
            or after `mae::`. Spellings of mmselfsup and mmpretrain
            (`vit-b-p16`, without `-amp`, `-fp16`) are understood.

    Raises:
        ConfigError: no such config; suggests the nearest names.
    """
    if not str(name):
        raise ConfigError("no such config: ''")  # as a path it would be the current folder
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix not in _FORMATS:
            raise ConfigError(f'{path} is not a config: its name must end in .py')
        return path
    if path.is_dir():
        raise ConfigError(f'{path} is a folder, not a config')
    if (found := _find_shipped(str(name))) is not None:
        return found
    known = {leaf.stem for leaf in shipped_configs()} | {other.stem for other in _beside(path)}
    near = nearest(path.name.removesuffix('.py'), known, limit=3)
    hint = f'; nearest: {", ".join(near)}' if near else ''
    raise ConfigError(f'no such config: {name}{hint}')


def shipped_configs() -> list[Path]:
    """All configs one can run, sorted: those of the wheel, or of the checkout."""
    root = package_path('configs')
    leaves = root.rglob('*.py') if root else ()
    return sorted(path for path in leaves if '_base_' not in path.parts)


def find_base(name: str, heir: Path) -> Path | None:
    """The file that a config inherits from.

    Args:
        name: as `_base_` has it: a path from the folder of `heir`, or else what `find_config` takes
            for a shipped config, or `mae::` and a path from the folder of shipped configs.
        heir: the config that inherits.

    Returns:
        The file; None for one of another library (`mmpretrain::...`), which mmengine finds.

    Raises:
        ConfigError: no such file; suggests the nearest names.
    """
    beside = heir.parent / name
    if beside.is_file():
        return beside.resolve()
    scope = name.partition('::')[0] if '::' in name else ''
    if scope not in ('', _SCOPE.removesuffix('::')):
        return None
    if not name.startswith('.') and (found := _find_shipped(name)):
        return found.resolve()
    known = {other.stem: str(Path(name).with_name(other.name)) for other in _beside(beside)}
    known |= {path.stem: path.stem for path in shipped_configs()}
    known |= {path.stem: f'{_SCOPE}{path.relative_to(root)}' for root, path in _shipped_bases()}
    near = nearest(beside.stem, known, limit=3)
    if near and (near[0] == beside.stem or is_typo(beside.stem, near[0])):
        hint = f'; did you mean {known[near[0]]}?'
    else:
        hint = f'; nearest: {", ".join(known[stem] for stem in near)}' if near else ''
    raise ConfigError(f'no such _base_ file: {name}{hint}')


def _find_shipped(name: str) -> Path | None:
    """The shipped config of a name, with or without folder and `.py`, or of an old spelling."""
    path = Path(name.removeprefix(_SCOPE))
    wanted = path.with_suffix('') if path.suffix == '.py' else path
    leaves = shipped_configs()
    for leaf in (
        *leaves,
        *(path for _, path in _shipped_bases() if wanted.parts[:1] == ('_base_',)),
    ):
        if leaf.with_suffix('').parts[-len(wanted.parts) :] == wanted.parts:
            return leaf
    if wanted.name == str(wanted):
        for leaf in leaves:
            if _canonical(leaf.stem) == _canonical(wanted.name):
                return leaf
    return None


def _shipped_bases() -> list[tuple[Path, Path]]:
    """The folder of shipped configs and each file in it that is only inherited from."""
    root = package_path('configs')
    return [(root, path) for path in sorted(root.glob('_base_/**/*.py'))] if root else []


def _beside(path: Path) -> list[Path]:
    return [other for other in path.parent.glob('*') if other.suffix in _FORMATS]


def _canonical(stem: str) -> str:
    """One spelling for all those of the same config's name."""
    stem = re.sub(r'vit-([tsblh])-', lambda match: f'vit-{_SIZES[match[1]]}-', stem)
    stem = stem.replace('vit-huge-p16', 'vit-huge-p14')  # their name for patches of 14 pixels
    return re.sub(r'-(amp|fp16)(?=[-_])', '', stem).removesuffix('-224')
