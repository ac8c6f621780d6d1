"""The distributions, built once for all tests that ask for them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *('mae', 'configs', 'tools', 'tests', 'docs', 'requirements'),
    *('setup.py', 'pyproject.toml', 'MANIFEST.in', 'requirements.txt', 'Makefile', 'LICENSE'),
    *('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CITATION.cff'),
    'model-index.yml',
]
DIST_FIXTURES = {'distributions', 'installed_wheel'}


def pytest_collection_modifyitems(items):
    # One process builds them, instead of each.
    for item in items:
        if DIST_FIXTURES.intersection(getattr(item, 'fixturenames', ())):
            item.add_marker(pytest.mark.xdist_group('distributions'))


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
