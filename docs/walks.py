"""Counts what a reader reads on five walks through the code: `python docs/walks.py`.

Each walk really runs, on handwritten digits. A file of `mae/` or `tools/` counts if one of its
functions is called on the way; one that is only imported does not. Lines are those of the functions
that are called, docstrings and comments among them, and those of their whole files. The table goes
to `docs/en/design/walks.md`.
"""

import argparse
import os
import pkgutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (str(ROOT / 'mae') + os.sep, str(ROOT / 'tools') + os.sep)
PAGE = ROOT / 'docs/en/design/walks.md'
BEGIN, END = '<!-- walks: written by docs/walks.py -->', '<!-- /walks -->'
CONFIG = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
OPTIONS = ['train_cfg.max_epochs=1', 'param_scheduler.warmup_epochs=0']

Functions = set[CodeType]


@contextmanager
def following(found: Functions) -> Iterator[None]:
    """Note which functions of ours are called, here and in threads started meanwhile."""

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        # Bodies of modules and classes are not optimised: they run at import.
        is_function = event == 'call' and code.co_flags & CO_OPTIMIZED
        if is_function and code.co_filename.startswith(FOLDERS):
            found.add(code)

    before = sys.getprofile()
    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]


class _Seen(Exception):  # noqa: N818  (no error)
    """The walk is at its end."""


@contextmanager
def patched(owner: type, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Give a class another method for a while."""
    method = getattr(owner, name)
    setattr(owner, name, replacement(method))
    try:
        yield
    finally:
        setattr(owner, name, method)


def followed(found: Functions) -> Callable[..., Any]:
    """A method that is followed whenever it is called."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with following(found):
                return method(*args, **kwargs)

        return call

    return wrap


def last(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that ends the walk."""

    def call(*args: Any, **kwargs: Any) -> Any:
        method(*args, **kwargs)
        raise _Seen

    return call


def import_everything() -> None:
    """Import all modules now: decorators that register classes are no part of a walk."""
    import mae

    for module in pkgutil.walk_packages(mae.__path__, 'mae.'):
        if not module.name.startswith('mae.benchmark'):
            import_module(module.name)


def train_tool() -> Any:
    """`tools/train.py` as a module."""
    spec = spec_from_file_location('train', ROOT / 'tools/train.py')
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def walk(folder: Path) -> dict[str, Functions]:
    """Run everything in a folder; the functions that each walk calls."""
    import timm
    import torch

    from mae.apis import init_model, load_config
    from mae.engine import Runner
    from mae.engine.loops import TrainLoop
    from mae.registry import HOOKS

    main = train_tool().main
    walks: dict[str, Functions] = {}

    def start(name: str) -> Functions:
        return walks.setdefault(name, set())

    line = [CONFIG, '--work-dir', str(folder / 'run'), '--cfg-options', *OPTIONS]
    first = [CONFIG, '--work-dir', str(folder / 'first'), '--cfg-options', *OPTIONS]
    from_config = following(start('from the config to new weights'))
    with suppress(_Seen), patched(TrainLoop, '_run_step', last), from_config:
        main(first)
    saving = followed(start('a checkpoint is saved'))
    with patched(HOOKS.get('CheckpointHook'), 'after_train_epoch', saving):
        main(line)
    with patched(Runner, 'load_or_resume', followed(start('a run is resumed'))):
        main([*line, '--resume'])

    weights = folder / 'timm.pth'
    arch = {'embed_dim': 96, 'depth': 1, 'num_heads': 2}
    vit = timm.create_model('vit_base_patch16_224', global_pool='avg', **arch)
    torch.save(vit.state_dict(), weights)
    config = load_config('vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', {'model.encoder.arch': arch})
    with following(start('foreign weights are loaded')):
        init_model(config, weights)

    own = folder / 'own.py'
    own.write_text(f"_base_ = ['{ROOT}/configs/demo/{CONFIG}.py']\nbase_lr = 1e-3\n")
    with following(start("a user's config is read and checked")):
        load_config(own)
    return walks


def files_of(functions: Functions) -> list[Path]:
    """The files that hold the functions, sorted."""
    return sorted({Path(code.co_filename) for code in functions})


def num_lines(functions: Functions) -> int:
    """Lines of the functions, each counted once."""
    lines = set()
    for code in functions:
        last_line = max(line for *_, line in code.co_lines() if line is not None)
        lines |= {(code.co_filename, line) for line in range(code.co_firstlineno, last_line + 1)}
    return len(lines)


def table(walks: dict[str, Functions]) -> str:
    """Files, functions and lines of each walk, in Markdown."""
    rows = [
        '| walk | files | functions | their lines | lines of the files |',
        '|---|---:|---:|---:|---:|',
    ]
    for name, functions in walks.items():
        files = files_of(functions)
        whole = sum(len(file.read_text(encoding='utf-8').splitlines()) for file in files)
        rows.append(
            f'| {name} | {len(files)} | {len(functions)} | {num_lines(functions):,} | {whole:,} |'
        )
    return '\n'.join(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Walk, and renew the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--list', action='store_true', help='print every file, write nothing')
    args = parser.parse_args(argv)
    import_everything()
    with tempfile.TemporaryDirectory() as name:
        walks = walk(Path(name))
    print(table(walks))
    if args.list:
        for title, functions in walks.items():
            files = (file.relative_to(ROOT) for file in files_of(functions))
            print(f'\n{title}', *files, sep='\n  ')
        return
    text = PAGE.read_text(encoding='utf-8')
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f'{before}{BEGIN}\n{table(walks)}\n{END}{after}', encoding='utf-8')


if __name__ == '__main__':
    main()
