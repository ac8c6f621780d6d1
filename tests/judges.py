"""Libraries that figures are compared with, in a folder of their own (requirements/judges.txt)."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / 'judges'


def judge(*names):
    """The modules of these names, installed or from the judges' folder; skips where there are none.

    Only the import sees the folder: where other libraries find pycocotools, one of them fails.
    """
    sys.path.append(str(FOLDER))
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        pytest.skip(f'{error.name} is neither installed nor in {FOLDER}: `make test` puts it there')
    finally:
        sys.path.remove(str(FOLDER))
