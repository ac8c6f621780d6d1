"""Versions of our code and of the libraries below: no other file looks at them."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mae.version import __version__

# mmengine and mmcv come under several names of distribution, with one name to import.
_FRAMEWORK = ('mmengine', 'onedl-mmengine', 'mmcv-lite', 'mmcv', 'onedl-mmcv', 'mmpretrain')
_DECODERS = ('simplejpeg', 'pillow')
_LIBRARIES = ('torch', 'torchvision', 'timm', 'numpy', 'scikit-learn', *_DECODERS, *_FRAMEWORK)


def versions(*others: str) -> dict[str, str]:
    """Our version and those of the installed libraries a result depends on, by name.

    Args:
        others: names of further distributions; those not installed are skipped.
    """
    found = {'mae': __version__}
    for name in (*_LIBRARIES, *others):
        if (number := _version(name)) is not None:
            found[name] = number
    return found


@cache
def code_digest() -> str:
    """Twelve hexadecimal digits over the names and the text of our modules, as they are on disk."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob('*.py')):
        digest.update(f'{path.relative_to(root)}\n'.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@cache  # called for every checkpoint, and each call searches the installed packages
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
