"""Masked autoencoders: pre-train, fine-tune and evaluate from Python configs.

Start at `mae.models.algorithms.mae` (the paper in a dozen statements) or `mae.apis` (what tools
and notebooks call).
"""

from mae.late_imports import import_transformers_late
from mae.moved import install
from mae.version import __version__ as __version__

install()
import_transformers_late()

try:
    # mmengine and mmcv load it at once; where that fails, their traceback does not name the cure.
    import cv2  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'mae needs OpenCV, which does not load here ({error}); to cure it run: '
        'pip uninstall -y opencv-python && '
        'pip install --force-reinstall --no-deps opencv-python-headless'
    ) from None
