"""Versions of the libraries below: no other file looks at them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

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


@cache  # called for every checkpoint, and each call searches the installed packages
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
