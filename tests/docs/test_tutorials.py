"""Tutorials: their code runs, what they show is of that code, and their links lead somewhere.

The cells run here as a script, without the kernel that `make tutorials` takes, and with fewer
epochs.
"""

import json
import re
import runpy
from pathlib import Path

import pytest
import tutorials

from tests.forked import forked

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / 'docs/en/tutorials').glob('*.ipynb'))
MOST_BYTES = 250_000
# A folder of the machine that executed it.
PLACE = re.compile(rf'(?<![\w+./:])/(?:home|root|tmp|usr|var|opt)/|{re.escape(str(ROOT))}/')
EPOCHS = 1  # in place of those of a tutorial

pytestmark = pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)


def cells(path, kind):
    found = json.loads(path.read_text())['cells']
    return [cell for cell in found if cell['cell_type'] == kind]


def source(cell):
    return ''.join(cell['source'])


def script(path):
    """All code with fewer epochs; the number of the cell stands where a traceback shows it."""
    parts = [f'# cell {n}\n{source(cell)}\n' for n, cell in enumerate(cells(path, 'code'), 1)]
    return re.sub(r'^EPOCHS = \d+', f'EPOCHS = {EPOCHS}', '\n'.join(parts), flags=re.M)


@forked
def run(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))  # of the processes that a tutorial starts
    file = folder / 'tutorial.py'
    file.write_text(script(path))
    runpy.run_path(str(file), run_name='__main__')


@pytest.mark.timeout(400)  # one starts four processes
def test_it_runs_and_what_it_claims_holds(path, tmp_path, monkeypatch):
    assert re.search(r'^assert ', script(path), re.M)
    run(path, tmp_path, monkeypatch)


def test_what_it_shows_is_of_its_code(path):
    notebook = json.loads(path.read_text())
    assert notebook['metadata']['code_sha256'] == tutorials.code_digest(notebook), (
        f'{path.stem} has changed; run: make tutorials ARGS={path.stem}'
    )


def test_what_it_shows_can_be_kept(path):
    text = path.read_text()
    assert len(text) < MOST_BYTES
    assert not re.search(r'\\u001b|Traceback|Warning', text)
    assert not PLACE.search(text.replace(tutorials.FOLDER, ''))
    shown = cells(path, 'code')
    assert len(shown) <= 12
    assert [cell['execution_count'] for cell in shown] == [*range(1, len(shown) + 1)]


def test_its_links_lead_somewhere(path):
    text = '\n'.join(source(cell) for cell in cells(path, 'markdown'))
    targets = re.findall(r'\]\(([^)\s#]+)', text)
    assert targets
    for target in targets:
        assert target.startswith('https://') or (path.parent / target).is_file(), target
    overview = (ROOT / 'docs/en/overview.md').read_text()
    assert f'](tutorials/{path.name})' in overview
