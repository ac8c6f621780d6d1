"""Writes the README's map of the files from their first lines: `python docs/map.py`."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = '<!-- map: written by docs/map.py -->', '<!-- /map -->'

# From the configuration to the loss, in the order in which a run meets the files.
WALK = {
    'config': [
        'configs/pretrain/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
        'configs/_base_/models/mae_vit-base-p16.py',
        'configs/_base_/datasets/imagenet_mae.py',
        'configs/_base_/schedules/adamw_coslr_pretrain.py',
    ],
    'registry': ['mae/registry.py'],
    'data': [
        'mae/datasets/sampler.py',
        'mae/datasets/seeded.py',
        'mae/datasets/collate.py',
    ],
    'step': ['mae/engine/loops.py'],
    'normalise': ['mae/models/preprocessors/image.py'],
    '**read this first**': ['mae/models/algorithms/mae.py'],
    'mask': ['mae/models/masking/base.py', 'mae/models/masking/random.py'],
    'encode': ['mae/models/encoders/vit.py', 'mae/models/layers/block.py'],
    'decode': ['mae/models/decoders/transformer.py'],
    'target': ['mae/models/targets/pixel.py'],
    'loss': ['mae/models/losses/masked_mse.py'],
}
# What follows the loss: no part of the figure.
AFTER = {
    'update': ['mae/engine/optim/wrapper.py'],
    'hooks': [
        'mae/engine/optim/schedule.py',
        'mae/engine/hooks/checkpoint.py',
        'mae/engine/checkpoint/io.py',
    ],
}
# The paper itself: the algorithm and the five parts it names.
HEART = (
    'mae/models/algorithms/mae.py',
    'mae/models/masking/base.py',
    'mae/models/masking/random.py',
    'mae/models/encoders/vit.py',
    'mae/models/decoders/transformer.py',
    'mae/models/targets/pixel.py',
    'mae/models/losses/masked_mse.py',
)
# Rooms in the order of a run; what stands in none of them comes last.
ROOMS = (
    *('mae/*.py', 'mae/datasets/**', 'mae/models/algorithms/*', 'mae/models/preprocessors/*'),
    *('mae/models/masking/*', 'mae/models/encoders/*', 'mae/models/decoders/*'),
    *('mae/models/targets/*', 'mae/models/losses/*', 'mae/models/heads/*', 'mae/models/layers/*'),
    *('mae/engine/*.py', 'mae/engine/optim/*', 'mae/engine/hooks/*', 'mae/engine/checkpoint/*'),
    *('mae/evaluation/**', 'mae/visualization/**', 'mae/apis/*', 'mae/utils/*', 'mae/**'),
    *('tools/**', 'docs/*'),
)


def walk_files() -> list[str]:
    """The files of the walk, in order."""
    return [path for paths in WALK.values() for path in paths]


def figures(paths: Iterable[str]) -> tuple[int, int]:
    """Number of files and of their lines."""
    counts = [_lines(path) for path in paths]
    return len(counts), sum(counts)


def imported_files() -> list[str]:
    """The files of ours that those of the walk import, directly or through others."""
    found, queue = set(walk_files()), walk_files()
    while queue:
        new = set(_imports(queue.pop())) - found
        found |= new
        queue += new
    return sorted(found - set(walk_files()))


def render() -> str:
    """The map in Markdown."""
    files, lines = figures(walk_files())
    heart_files, heart_lines = figures(HEART)
    more_files, more_lines = figures(imported_files())
    return '\n'.join(
        [
            f'From config to loss: **{files} files, {lines:,} lines**; the heart, `mae.py` and '
            f'its parts, is {heart_files} files, {heart_lines} lines. What these import in turn '
            f'({more_files} files, {more_lines} lines: layers, hashing, errors), and the '
            'sources and transforms that a config names, can wait.',
            '',
            '| step | file | lines | what |',
            '|---|---|---:|---|',
            *_walk_rows({**WALK, **AFTER}),
            '',
            '<details><summary>All other files</summary>',
            '',
            '| file | lines | what |',
            '|---|---:|---|',
            *(_row(path) for path in _other_files()),
            *_config_rows(),
            '',
            '</details>',
        ]
    )


def rewrite(readme: str) -> str:
    """`readme` with the map between its markers renewed.

    Raises:
        ValueError: a marker is missing.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f'README.md must hold {BEGIN!r} and {END!r} once each')
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f'{before}{BEGIN}\n{render()}\n{END}{after}'


def summary(path: str) -> str:
    """The first line of a file's docstring, or the first comment of a shell script.

    Raises:
        ValueError: the file does not begin with one.
    """
    text = (ROOT / path).read_text(encoding='utf-8')
    if path.endswith('.py'):
        line = (ast.get_docstring(ast.parse(text)) or '').partition('\n')[0]
    else:
        line = next((row[2:] for row in text.splitlines() if row.startswith('# ')), '')
    if not line:
        raise ValueError(f'{path} does not begin with a line that says what it is')
    return line.replace('|', '\\|')


def main() -> None:
    """Renew the map in README.md."""
    path = ROOT / 'README.md'
    path.write_text(rewrite(path.read_text(encoding='utf-8')), encoding='utf-8')


def _lines(path: str) -> int:
    return len((ROOT / path).read_text(encoding='utf-8').splitlines())


def _row(path: str) -> str:
    return f'| [{path}]({path}) | {_lines(path)} | {summary(path)} |'


def _walk_rows(walk: dict[str, list[str]]) -> Iterator[str]:
    for step, paths in walk.items():
        for path in paths:
            yield f'| {step} {_row(path)}'
            step = ''


def _other_files() -> list[str]:
    """Code outside the walk, room by room; an `__init__.py` only if it says something."""
    shown = {path for paths in (*WALK.values(), *AFTER.values()) for path in paths}
    found: dict[str, None] = {}
    for room in ROOMS:
        for path in sorted(ROOT.glob(room.replace('**', '**/*'))):
            name = path.relative_to(ROOT).as_posix()
            is_code = path.suffix in ('.py', '.sh') and name not in shown
            if is_code and (path.name != '__init__.py' or name == 'mae/__init__.py'):
                found[name] = None
    return list(found)


def _config_rows() -> Iterator[str]:
    for folder in sorted(path for path in (ROOT / 'configs').iterdir() if path.is_dir()):
        files = [path.relative_to(ROOT).as_posix() for path in folder.rglob('*.py')]
        count, lines = figures(files)
        name = folder.relative_to(ROOT).as_posix()
        yield f'| [{name}/]({name}) | {lines} | {count} files |'


def _imports(path: str) -> Iterator[str]:
    """Files of ours that `path` imports."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding='utf-8'))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or '').startswith('mae'):
            continue
        module = f'{node.module}'.replace('.', '/')
        for name in (f'{module}.py', *(f'{module}/{alias.name}.py' for alias in node.names)):
            if (ROOT / name).is_file():
                yield name


if __name__ == '__main__':
    main()
