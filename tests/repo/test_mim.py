"""OpenMMLab's `mim` finds weights, configs and tools in the installed package."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from mae.zoo.index import entries

# Not imported here: it reads the installed distributions at once, and makes a folder in the user's
# home, which two test processes do at the same time. openmim 0.3.9 needs the `pkg_resources` that
# setuptools has dropped; onedl-mim is its continuation.
pytestmark = pytest.mark.skipif(find_spec('mim') is None, reason='onedl-mim is not installed')

CODE = """
import json, subprocess, sys
from mim.commands.download import download
from mim.commands.search import get_model_info
from mim.commands.train import train

name, config, dest = sys.argv[1:]
known = get_model_info('mae-toolbox', to_dict=True)
fetched = download('mae-toolbox', [name], dest)
commands = []
subprocess.check_call = lambda command, **options: commands.append(command) or 0
train('mae-toolbox', config, gpus=0, other_args=('--work-dir', 'run'))
print(json.dumps([known, fetched, commands]))
"""


def test_mim_searches_downloads_and_trains(installed_wheel, tmp_path):
    entry, config = entries()[0], 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'
    (tmp_path / entry.file).touch()  # as if fetched: there is no network here
    result = subprocess.run(
        [sys.executable, '-c', CODE, entry.name, config, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed_wheel)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    known, fetched, ((python, script, found, *arguments),) = json.loads(
        result.stdout.splitlines()[-1]
    )

    assert set(known) == {other.name for other in entries()}
    facts = known[entry.name]
    assert facts['weight'] == entry.url
    assert facts['flops'] == entry.flops
    assert facts['parameters'] == entry.parameters
    assert facts['imagenet-1k/fine-tune_top_1_accuracy'] == 83.1

    assert fetched == [entry.file]
    assert 'max_epochs=400' in (tmp_path / f'{entry.name}.py').read_text()

    shipped = installed_wheel / 'mae/.mim'
    assert script == str(shipped / 'tools/train.py')
    assert found == str(shipped / 'configs/demo' / config)
    assert arguments == ['--launcher', 'none', '--work-dir', 'run']
    assert os.path.samefile(python, sys.executable)
