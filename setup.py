"""Packaging: `pip install .`, `pip install -e .`, `python -m build`."""

from __future__ import annotations

import ast
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


def version() -> str:
    """`__version__` of mae/version.py, read without importing the package."""
    tree = ast.parse((ROOT / 'mae/version.py').read_text(encoding='utf-8'))
    values = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__version__'
    ]
    return str(values[0])


def requirements(name: str) -> list[str]:
    """The requirements of one file in requirements/, without its comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith('#')]


def shipped_files() -> list[Path]:
    """The files beside the package that an installed copy needs, relative to the root."""
    files: list[Path] = []
    for top in map(ROOT.joinpath, SHIPPED):
        files += top.rglob('*') if top.is_dir() else [top]
    return sorted(
        path.relative_to(ROOT)
        for path in files
        if path.is_file() and '__pycache__' not in path.parts
    )


class BuildWithConfigs(build_py):
    """Adds configs and tools to the built package as `mae/.mim/`, where OpenMMLab tools look.

    They are copied into the build folder only. An editable install has none: it uses the
    checkout's own folders.
    """

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        for source, target in self._copies():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What the build writes, the copies included."""
        return super().get_outputs(include_bytecode) + [target for _, target in self._copies()]

    def _copies(self) -> list[tuple[str, str]]:
        if self.editable_mode:
            return []
        mim = Path(self.build_lib, 'mae', '.mim')
        return [(str(path), str(mim / path)) for path in shipped_files()]


EXTRAS = {name: requirements(name) for name in ('demo', 'tests', 'docs', 'optional', 'hub')}

setup(
    name='mae-toolbox',
    version=version(),
    description='Masked autoencoders: pre-train, fine-tune and evaluate from Python configs',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='MAE contributors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={**EXTRAS, 'all': sorted(set().union(*EXTRAS.values()))},
    entry_points={'console_scripts': ['mae = mae.__main__:main']},
    packages=find_packages(include=['mae', 'mae.*']),
    package_data={'mae': ['py.typed', 'utils/*.txt']},
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
)
