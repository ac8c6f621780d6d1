"""Executes the tutorials and keeps what their cells show: `python docs/tutorials.py [NAME ...]`.

Each runs in a fresh folder and a fresh kernel. What differs from one execution to the next without
meaning, such as the folder and the times of cells, is not kept.
"""

import argparse
import hashlib
import os
import re
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / 'docs/en/tutorials'
FOLDER = '/home/me/tutorial'  # shown in place of the one it ran in
_PIXELS = ('image/png', 'image/jpeg')
_COLOUR = re.compile(r'\x1b\[[\d;]*m')
# How a line of the log begins.
_MOMENT = re.compile(r'^\d\d/\d\d \d\d:\d\d:\d\d - mmengine - ', re.MULTILINE)
# Nothing about the machine: any kernel for Python opens it.
_LANGUAGE = {'name': 'python'}
_KERNEL = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}


def main() -> None:
    """Execute all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = sorted(path.stem for path in TUTORIALS.glob('*.ipynb'))
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'of {", ".join(known)}')
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(known)):
        sys.exit(f'error: no tutorial {unknown[0]}; there are {", ".join(known)}')
    try:
        from nbclient.exceptions import CellExecutionError
    except ImportError:
        sys.exit('error: nbclient is missing; `make tutorials` installs it')

    # The kernel takes the package of this checkout.
    os.environ['PYTHONPATH'] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])
    )
    for name in args.names or known:
        before = _cpu_seconds()
        try:
            execute(TUTORIALS / f'{name}.ipynb')
        except CellExecutionError as error:
            sys.exit(f'error: {name}: a cell failed, and the file stays as it is\n{error}')
        print(f'{name}: {_cpu_seconds() - before:.0f} s of CPU time', flush=True)


def execute(path: Path) -> None:
    """Run all cells of a notebook and write it with what they show, or leave it as it is.

    Raises:
        CellExecutionError: a cell has raised an error.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=None,  # a training takes its time
            kernel_name=_KERNEL['name'],
            resources={'metadata': {'path': folder}},
            coalesce_streams=True,
        ).execute()
        clean(notebook, os.path.realpath(folder))
    notebook.metadata['code_sha256'] = code_digest(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def clean(notebook: Any, folder: str) -> None:
    """Leave what a reader sees: no times and numbers of an execution, no place of it."""
    from nbformat import NotebookNode

    notebook.metadata = NotebookNode(kernelspec=_KERNEL, language_info=_LANGUAGE)
    for number, cell in enumerate(notebook.cells):
        cell.id = f'cell-{number}'
        cell.metadata = NotebookNode()
        if 'outputs' in cell:
            # On stderr are bars of progress and what libraries say of this environment.
            cell.outputs = [one for one in cell.outputs if one.get('name') != 'stderr']
        for output in cell.get('outputs', ()):
            output.pop('transient', None)
            if 'metadata' in output:
                output.metadata = NotebookNode()
            if 'text' in output:
                output.text = _plain(output.text, folder)
            if 'data' in output:
                output.data = {kind: _plain(text, folder) for kind, text in _shown(output.data)}


def _plain(text: str, folder: str) -> str:
    return _MOMENT.sub('', _COLOUR.sub('', text.replace(folder, FOLDER)))


def _shown(data: dict[str, str]) -> list[tuple[str, str]]:
    """All that a cell gives, without the larger of PNG and JPEG: Pillow gives a picture as both."""
    pixels = sorted((kind for kind in data if kind in _PIXELS), key=lambda kind: len(data[kind]))
    return [(kind, text) for kind, text in data.items() if kind not in pixels[1:]]


def code_digest(notebook: Any) -> str:
    """SHA-256 over the code of all cells, by which a test sees that what they show is theirs."""
    code = [cell['source'] for cell in notebook['cells'] if cell['cell_type'] == 'code']
    lines = [source if isinstance(source, str) else ''.join(source) for source in code]
    return hashlib.sha256('\n\0'.join(lines).encode()).hexdigest()


def _cpu_seconds() -> float:
    """CPU time of all kernels that have ended, and of the processes that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == '__main__':
    main()
