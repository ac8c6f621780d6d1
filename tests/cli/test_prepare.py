"""`tools/data/prepare.py` in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def prepare(*arguments):
    command = [sys.executable, 'tools/data/prepare.py', *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 'Traceback' not in done.stderr
    return done


def test_a_whole_set_one_with_a_gap_and_a_slip(tmp_path):
    names = [f'n{number:08d}' for number in range(200)]
    for name in names:
        (tmp_path / name).mkdir()
    for number in range(7500):
        (tmp_path / names[number % 200] / f'{number}.jpg').touch()
    done = prepare('imagenet-a', tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f'ok     {tmp_path}: 200 classes, 7500 images\n')
    assert f"source=dict(type='ImageFolder', root='{tmp_path}', classes='imagenet')" in done.stdout

    (tmp_path / names[7] / '7.jpg').unlink()
    done = prepare('imagenet-a', tmp_path)
    assert done.returncode == 1
    assert f'WRONG  {tmp_path}: 200 classes, 7499 images; expected 7500' in done.stdout
    assert 'it comes from https://github.com/hendrycks/natural-adv-examples' in done.stdout
    assert 'terms: ' in done.stdout

    done = prepare('imagenet_a', tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: no data set 'imagenet_a'; did you mean imagenet-a?\n"
