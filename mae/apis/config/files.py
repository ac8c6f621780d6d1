"""Where configs lie, by path or by the name of a shipped one, and reading them."""

import ast
import re
import traceback
from pathlib import Path

from mmengine.config import Config

from mae.utils.errors import ConfigError
from mae.utils.shipped import shipped
from mae.utils.suggest import nearest

_SIZES = {'t': 'tiny', 's': 'small', 'b': 'base', 'l': 'large', 'h': 'huge'}
_FORMATS = ('.py', '.json', '.yaml', '.yml')


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Args:
        name: a path, or the name of a shipped config with or without folder and `.py`. Spellings
            of mmselfsup and mmpretrain (`vit-b-p16`, without `-amp`, `-fp16`) are understood.

    Raises:
        ConfigError: no such config; tells the nearest names.
    """
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix not in _FORMATS:
            raise ConfigError(f'{path} is not a config: its name must end in .py')
        return path
    if path.is_dir():
        raise ConfigError(f'{path} is a folder, not a config')
    leaves = shipped_configs()
    asked = path.with_suffix('') if path.suffix == '.py' else path
    for leaf in leaves:
        if leaf.with_suffix('').parts[-len(asked.parts) :] == asked.parts:
            return leaf
    if asked.name == str(asked):
        for leaf in leaves:
            if _canonical(leaf.stem) == _canonical(asked.name):
                return leaf
    known = {leaf.stem for leaf in leaves} | {other.stem for other in path.parent.glob('*.py')}
    near = nearest(asked.name, known, limit=3)
    hint = f'; nearest: {", ".join(near)}' if near else ''
    raise ConfigError(f'no such config: {name}{hint}')


def shipped_configs() -> list[Path]:
    """All configs one can run, sorted: those of the wheel, or of the checkout."""
    root = shipped('configs')
    leaves = root.rglob('*.py') if root else ()
    return sorted(path for path in leaves if '_base_' not in path.parts)


def read_config(path: Path) -> Config:
    """Run a config file and those it inherits from, without importing anything for it.

    Raises:
        ConfigError: names the file and line that cannot be read or run.
    """
    files = _with_bases(path.resolve())
    try:
        return Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # whatever the code in the file does wrong
        frames = traceback.extract_tb(error.__traceback__)
        names = {str(file) for file in files}
        lines = [f'{f.filename}:{f.lineno}' for f in frames if str(f.filename) in names]
        where = lines[-1] if lines else str(path)
        message = str(error).strip().splitlines()[0] if str(error) else ''
        raise ConfigError(f'{where}: {type(error).__name__}: {message}') from error


def _with_bases(file: Path, *heirs: Path) -> list[Path]:
    """A file and all it inherits from."""
    if file in heirs:
        raise ConfigError(f'{heirs[-1]}: _base_ leads back to {file}, which inherits from it')
    if file.suffix != '.py':
        return [file]
    return [file, *(other for b in _bases_of(file) for other in _with_bases(b, *heirs, file))]


def _bases_of(file: Path) -> list[Path]:
    """The files that `_base_` names, which must be there."""
    try:
        tree = ast.parse(file.read_text(encoding='utf-8'), str(file))
    except SyntaxError as error:
        raise ConfigError(f'{file}:{error.lineno}: {error.msg}') from error
    except (UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f'{file} is not a Python file: {error}') from error
    bases = []
    for node in tree.body:
        if not (isinstance(node, ast.Assign) and _is_base(node.targets[0])):
            continue
        try:
            names = ast.literal_eval(node.value)
        except ValueError:
            continue  # computed: mmengine finds out
        for name in [names] if isinstance(names, str) else names:
            base = (file.parent / name).resolve()
            if '::' in name:  # of another library
                continue
            if not base.is_file():
                near = nearest(base.name, [other.name for other in base.parent.glob('*.py')])
                hint = f'; did you mean {Path(name).with_name(near[0])}?' if near else ''
                raise ConfigError(f'{file}:{node.lineno}: no such _base_ file: {name}{hint}')
            bases.append(base)
    return bases


def _is_base(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == '_base_'


def _canonical(stem: str) -> str:
    """What all spellings of a config's name have in common."""
    stem = re.sub(r'vit-([tsblh])-', lambda match: f'vit-{_SIZES[match[1]]}-', stem)
    stem = stem.replace('vit-huge-p16', 'vit-huge-p14')  # so called there, though of patch 14
    return re.sub(r'-(amp|fp16)(?=[-_])', '', stem).removesuffix('-224')
