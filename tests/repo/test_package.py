"""What is built and installed holds all that the checkout's commands, and `mim`, need."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.util import find_spec
from pathlib import Path

import pytest

from mae.version import __version__
from mae.zoo.index import entries

ROOT = Path(__file__).parents[2]
SOURCES = [
    *('mae', 'configs', 'tools', 'tests', 'docs', 'requirements'),
    *('setup.py', 'pyproject.toml', 'MANIFEST.in', 'requirements.txt', 'Makefile', 'LICENSE'),
    *('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CITATION.cff'),
    'model-index.yml',
]
DEMO = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
MIM = """
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


def _python(*args, cwd):
    result = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]


@pytest.fixture(scope='session')
def distributions(tmp_path_factory):
    """A folder with the sdist and the wheel that was built from that sdist."""
    checkout = tmp_path_factory.mktemp('checkout')
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns('__pycache__'))
        elif source.exists():
            shutil.copy2(source, checkout / name)
    dist = tmp_path_factory.mktemp('dist')
    _python('-m', 'build', '--no-isolation', '--outdir', str(dist), cwd=checkout)
    return dist


@pytest.fixture(scope='session')
def installed_wheel(distributions, tmp_path_factory):
    """A folder outside the checkout with the wheel in it: put it on PYTHONPATH."""
    (wheel,) = distributions.glob('*.whl')
    target = tmp_path_factory.mktemp('installed')
    pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--no-compile']
    _python(*pip, '--target', str(target), str(wheel), cwd=target)
    return target


def checkout_files(*folders):
    """Files under `folders` that are not bytecode, relative to the root."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob('*') if path.is_file())
    return {str(path.relative_to(ROOT)) for path in paths if path.suffix != '.pyc'}


def run_python(code, path, cwd):
    env = {**os.environ, 'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [sys.executable, '-c', code], cwd=cwd, env=env, capture_output=True, text=True
    )


@pytest.fixture(scope='module')
def wheel(distributions):
    (path,) = distributions.glob('*.whl')
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_holds_package_configs_and_tools(wheel):
    names = set(wheel.namelist())
    assert checkout_files('mae') <= names
    assert {'mae/py.typed', 'mae/.mim/model-index.yml'} <= names
    assert {f'mae/.mim/{name}' for name in checkout_files('configs', 'tools')} <= names


def test_wheel_has_no_other_top_level(wheel):
    tops = {name.split('/')[0] for name in wheel.namelist()}
    assert tops == {'mae', f'mae_toolbox-{__version__}.dist-info'}


def test_wheel_brings_the_command(wheel):
    text = wheel.read(f'mae_toolbox-{__version__}.dist-info/entry_points.txt').decode()
    assert text.split() == ['[console_scripts]', 'mae', '=', 'mae.__main__:main']


def test_wheel_says_what_the_requirements_say(wheel):
    info = f'mae_toolbox-{__version__}.dist-info'
    metadata = message_from_string(wheel.read(f'{info}/METADATA').decode())
    lines = (ROOT / 'requirements/runtime.txt').read_text().splitlines()
    wanted = {line for line in lines if line and not line.startswith('#')}
    required = {name for name in metadata.get_all('Requires-Dist') if 'extra ==' not in name}
    assert metadata['Version'] == __version__
    assert metadata['Requires-Python'] == '>=3.10'
    assert required == wanted
    assert f'{info}/licenses/LICENSE' in wheel.namelist()


def test_sdist_holds_what_a_build_and_the_tests_need(distributions):
    (path,) = distributions.glob('*.tar.gz')
    with tarfile.open(path) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    wanted = checkout_files('mae', 'configs', 'tools', 'tests', 'requirements')
    assert wanted | {'setup.py', 'pyproject.toml', 'requirements.txt', 'LICENSE'} <= names


def test_opencv_that_does_not_load_says_in_one_line_what_to_do(tmp_path):
    reason = 'libGL.so.1: cannot open shared object file: No such file or directory'
    (tmp_path / 'cv2.py').write_text(f'raise ImportError({reason!r})\n')
    result = run_python('import mae', f'{tmp_path}{os.pathsep}{ROOT}', tmp_path)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert result.stderr.count('Traceback') == 1
    assert last.startswith('ImportError: mae needs OpenCV')
    assert 'libGL.so.1' in last
    assert 'pip uninstall -y opencv-python && pip install' in last
    assert last.endswith('opencv-python-headless')


@pytest.fixture(scope='module')
def outside(installed_wheel, tmp_path_factory):
    """(folder, lines): what one process printed outside the checkout, with the wheel installed.

    It says what it imports, reads two configs that inherit the wheel's, and trains the demo.
    """
    folder = tmp_path_factory.mktemp('outside')
    code = 'import mae; print(mae.__file__, mae.__version__)\nfrom mae.apis import load_config\n'
    bases = ['vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', 'mae::_base_/default_runtime.py']
    for number, base in enumerate(bases):
        (folder / f'mine{number}.py').write_text(f'_base_ = {base!r}\nbase_lr = 0.5\n')
        code += f"c = load_config('mine{number}.py'); print(c.base_lr, c.resume)\n"
    options = ['train_cfg.max_epochs=1', 'param_scheduler.warmup_epochs=0']
    options += ['model.encoder.arch.embed_dim=16', 'model.encoder.arch.depth=1']
    words = [DEMO, '--work-dir', 'run', '--cfg-options', *options]
    tool = str(installed_wheel / 'mae/.mim/tools/train.py')
    code += f'import runpy, sys; sys.argv = {[tool, *words]}\n'
    code += f"runpy.run_path({tool!r}, run_name='__main__')\n"
    result = run_python(code, installed_wheel, folder)
    assert result.returncode == 0, result.stderr[-4000:]
    return folder, result.stdout.splitlines()


def test_installed_wheel_imports_outside_the_checkout(outside, installed_wheel):
    _, lines = outside
    assert lines[0].split() == [str(installed_wheel / 'mae/__init__.py'), __version__]


def test_a_config_outside_inherits_one_of_the_installed_wheel(outside):
    _, lines = outside
    assert lines[1:3] == ['0.5 False'] * 2


def test_installed_wheel_trains_the_demo(outside):
    folder, _ = outside
    assert (folder / 'run/epoch_1.pth').is_file()
    logged = (folder / 'run' / f'{DEMO}.py').read_text()
    assert 'max_epochs=1' in logged


# Not imported here: it reads the installed distributions at once, and makes a folder in the user's
# home, which two test processes do at the same time. openmim 0.3.9 needs the `pkg_resources` that
# setuptools has dropped; onedl-mim is its continuation.
@pytest.mark.skipif(find_spec('mim') is None, reason='onedl-mim is not installed')
def test_mim_searches_downloads_and_trains(installed_wheel, tmp_path):
    editable = _as_editable(installed_wheel, tmp_path / 'site')
    # One that `make demo` leaves no copy of: mim looks for the name in all of the checkout.
    entry, config = entries()[0], 'mae_vit-mini-p4_target-hog_1xb64-coslr-170e_digits-16.py'
    (tmp_path / entry.file).touch()  # as if fetched: there is no network here
    result = subprocess.run(
        [sys.executable, '-c', MIM, entry.name, config, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': editable},
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

    assert script == str(ROOT / 'tools/train.py')
    assert found == str(ROOT / 'configs/demo' / config)
    assert arguments == ['--launcher', 'none', '--work-dir', 'run']
    assert os.path.samefile(python, sys.executable)


def _as_editable(installed, site):
    """PYTHONPATH with what `pip install -e` writes: of a wheel, mim sees the command alone."""
    (info,) = installed.glob('mae_toolbox-*.dist-info')
    shutil.copytree(info, site / info.name)
    place = {'url': ROOT.as_uri(), 'dir_info': {'editable': True}}
    (site / info.name / 'direct_url.json').write_text(json.dumps(place))
    return os.pathsep.join([str(site), str(ROOT)])
