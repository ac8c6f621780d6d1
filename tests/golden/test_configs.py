"""What every shipped config comes to: it may be written down otherwise, its name and values stay.

`configs.json` holds the SHA-256 of each config as it is run: bases merged, keys sorted, helper
variables gone, docstring not part of it. `python tests/golden/test_configs.py NAME` prints what
is hashed. A change on purpose writes the file anew and says why in its commit:
`pytest tests/golden/test_configs.py --update-golden`.
"""

import difflib
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mae import datasets, models  # noqa: F401  (register what the configs name)
from mae.config import load_config, shipped_configs

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name('configs.json')
LEAVES = {path.stem: path for path in shipped_configs()}


def plain(value: object) -> object:
    """JSON knows no tuples: a tuple in the place of a list is a change."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return {'tuple': [plain(inner) for inner in value]}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def canonical(path: Path) -> str:
    """A config as it is run, one value a line."""
    return json.dumps(plain(load_config(path)._cfg_dict), indent=1, sort_keys=True)


def hashed(path: Path) -> str:
    return hashlib.sha256(canonical(path).encode()).hexdigest()


def git(*args: str) -> bytes:
    """What git says; nothing where it is not installed or this is no clone."""
    try:
        return subprocess.run(['git', '-C', str(ROOT), *args], capture_output=True).stdout
    except FileNotFoundError:
        return b''


def difference(name: str, folder: Path) -> str:
    """What a config has become since the golden file was committed."""
    commit = git('log', '-1', '--format=%H', '--', str(GOLDEN)).decode().strip()
    then = git('archive', '--format=zip', commit, 'configs') if commit else b''
    if not then:
        return f'compare with the commit of {GOLDEN.name}, which is not in the history at hand'
    with zipfile.ZipFile(io.BytesIO(then)) as archive:
        archive.extractall(folder)
    old = next((folder / 'configs').rglob(f'{name}.py'), None)
    before = canonical(old).splitlines() if old else []
    after = canonical(LEAVES[name]).splitlines() if name in LEAVES else []
    return '\n'.join(difflib.unified_diff(before, after, commit[:12], 'now', n=2, lineterm=''))


def test_every_config_has_its_hash(request):
    if request.config.getoption('--update-golden'):
        new = {name: hashed(path) for name, path in sorted(LEAVES.items())}
        GOLDEN.write_text(json.dumps(new, indent=1) + '\n')
    names = json.loads(GOLDEN.read_text())
    assert sorted(names) == sorted(LEAVES), (
        'a config came, went or was renamed; if on purpose: '
        'pytest tests/golden/test_configs.py --update-golden'
    )


@pytest.mark.parametrize('name', LEAVES)
def test_config_is_what_it_was(name, tmp_path):
    golden = json.loads(GOLDEN.read_text())
    if golden.get(name) != hashed(LEAVES[name]):
        pytest.fail(
            f'{name} comes to other values:\n{difference(name, tmp_path)}\n'
            'If on purpose: pytest tests/golden/test_configs.py --update-golden, and say why',
            pytrace=False,
        )


def test_a_change_is_shown(tmp_path, monkeypatch):
    name = 'vit-base-p16_knn-8xb512_in1k'
    heir = tmp_path / f'{name}.py'
    heir.write_text(f'_base_ = {str(LEAVES[name])!r}\ntest_cfg = dict(k=21)\n')
    monkeypatch.setitem(LEAVES, name, heir)
    assert hashed(heir) != json.loads(GOLDEN.read_text())[name]
    shown = difference(name, tmp_path / 'then')
    if 'not in the history' not in shown:
        assert '-  "k": 20,' in shown
        assert '+  "k": 21,' in shown


if __name__ == '__main__':
    print(canonical(LEAVES[sys.argv[1]]))
