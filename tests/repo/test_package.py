"""What is built and installed holds all that the checkout's commands need."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from mae.version import __version__

ROOT = Path(__file__).parents[2]


def checkout_files(*folders):
    """Files under `folders` that are not bytecode, relative to the root."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob('*') if path.is_file())
    return {str(path.relative_to(ROOT)) for path in paths if path.suffix != '.pyc'}


def run_python(code, path, cwd):
    env = {**os.environ, 'PYTHONPATH': str(path)}
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


def test_installed_wheel_imports_outside_the_checkout(installed_wheel, tmp_path):
    result = run_python(
        'import mae; print(mae.__file__, mae.__version__)', installed_wheel, tmp_path
    )
    assert result.stdout.split() == [str(installed_wheel / 'mae/__init__.py'), __version__]


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


def test_installed_wheel_trains_the_demo(installed_wheel, tmp_path):
    config = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
    options = ['train_cfg.max_epochs=2', 'param_scheduler.warmup_epochs=1']
    tool = installed_wheel / 'mae/.mim/tools/train.py'
    result = subprocess.run(
        [sys.executable, str(tool), config, '--work-dir', 'run', '--cfg-options', *options],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed_wheel), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert (tmp_path / 'run/epoch_2.pth').is_file()
    logged = (tmp_path / 'run' / f'{config}.py').read_text()
    assert 'max_epochs=2' in logged


def test_a_config_outside_inherits_one_of_the_installed_wheel(installed_wheel, tmp_path):
    bases = ['vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', 'mae::_base_/default_runtime.py']
    code = 'from mae.apis import load_config\n'
    for number, base in enumerate(bases):
        (tmp_path / f'mine{number}.py').write_text(f'_base_ = {base!r}\nbase_lr = 0.5\n')
        code += f"c = load_config('mine{number}.py'); print(c.base_lr, c.resume)\n"
    result = run_python(code, installed_wheel, tmp_path)
    assert result.stdout.split() == ['0.5', 'False'] * 2, result.stderr
