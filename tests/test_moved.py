"""Import paths from before modules moved give the very modules that took their place."""

import subprocess
import sys

from mae.moved import MOVED, NAMES

CODE = """
import importlib, sys, warnings
warnings.simplefilter('always')
for old, new in MOVED.items():
    with warnings.catch_warnings(record=True) as told:
        found = importlib.import_module(f'mae.{old}')
    assert found is importlib.import_module(f'mae.{new}'), old
    assert found.__name__ == found.__spec__.name == f'mae.{new}', old
    assert any(f'mae.{old} is mae.{new} now' in str(w.message) for w in told), old
"""


def test_each_old_path_gives_the_new_module():
    code = CODE.replace('MOVED', repr(MOVED))
    subprocess.run([sys.executable, '-c', code], check=True)


def test_old_paths_give_the_names_that_went_elsewhere():
    lines = [
        f'from mae.{old} import {name}\nimport mae.{room}\nassert {name} is mae.{room}.{name}'
        for old, names in NAMES.items()
        for name, room in names.items()
    ]
    subprocess.run([sys.executable, '-c', '\n'.join(lines)], check=True)
