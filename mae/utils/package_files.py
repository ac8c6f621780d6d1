"""Where the files beside the package lie: in the wheel under `.mim`, in a checkout beside it."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def package_path(name: str) -> Path | None:
    """A file or folder that comes with the package, such as 'configs'; None if it is not there.

    A checkout that is installed in place has no `.mim`.
    """
    for root in (_PACKAGE / '.mim', _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    return None
