"""Label maps from files.

Shapes: H W pixels.
"""

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mae.datasets.transforms.base import Results, Transform
from mae.datasets.transforms.geometry import check_unmoved
from mae.datasets.transforms.image_file import open_image, read_image_bytes
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError, DataError
from mae.utils.text import first_line

Encoding = Literal['index', 'rg']
Zero = Literal['class', 'ignore']


@TRANSFORMS.register_module()
class LoadMap(Transform):
    """Reads `map_path` into `map`, int16 (H, W).

    What stands before it in the pipeline moves the image alone: behind a resize, the map keeps the
    size of its file, as evaluation at the original size needs it.

    Args:
        encoding: 'index' for one number a pixel, palette images among them; 'rg' for red + 256
            green, as ImageNet-S stores up to 919 classes.
        zero_is: 'class' keeps 0 as a class; 'ignore' makes it `ignore_index` and counts the classes
            from 1 on, as ADE20K does.
        ignore_index: label of pixels that count nowhere, stored so or made of 0.
        max_pixels: height x width above which a file is refused before it is decoded.
        max_bytes: size above which a file is refused before it is read.

    Raises:
        ConfigError: an unknown `encoding` or `zero_is`.
    """

    is_random = False
    keeps_size = True

    def __init__(
        self,
        encoding: Encoding = 'index',
        *,
        zero_is: Zero = 'class',
        ignore_index: int = 255,
        max_pixels: int = 2**27,
        max_bytes: int = 2**28,
    ) -> None:
        if encoding not in get_args(Encoding):
            raise ConfigError(f"LoadMap.encoding must be 'index' or 'rg', got {encoding!r}")
        if zero_is not in get_args(Zero):
            raise ConfigError(f"LoadMap.zero_is must be 'class' or 'ignore', got {zero_is!r}")
        self.encoding = encoding
        self.zero_is = zero_is
        self.ignore_index = ignore_index
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes

    def transform(self, results: Results) -> Results:
        """Adds `map`.

        Raises:
            DataError: the file is missing, damaged, of another encoding, or of another size than
                the image; names the path.
            ValueError: the source gives no `map_path`, or the image has been cut or turned.
        """
        check_unmoved(results, 'LoadMap')
        if 'map_path' not in results:
            raise ValueError('the source gives no `map_path`; LabelMapFolder does')
        path = results['map_path']
        try:
            labels = self._read(path)
        except (OSError, ValueError, SyntaxError) as error:
            reason = getattr(error, 'strerror', None) or first_line(error)
            raise DataError(f'{path}: no label map that can be read: {reason}') from error
        size = results.get('original', tuple(results['img'].shape[-2:]))
        if labels.shape != tuple(size):
            raise DataError(
                f'{path}: the map has {labels.shape[0]}x{labels.shape[1]} pixels, its image '
                f'{results.get("img_path", "")} {size[0]}x{size[1]}'
            )
        results['map'] = torch.from_numpy(self._numbered(labels))
        return results

    def _read(self, path: str) -> NDArray[Any]:
        data = read_image_bytes(path, self.max_bytes)
        with open_image(data, ('PNG', 'BMP', 'GIF', 'TIFF'), self.max_pixels) as image:
            image.load()
            return self._stored(image)

    def _stored(self, image: Image.Image) -> NDArray[Any]:
        """The numbers in the file, int32 (H, W)."""
        if self.encoding == 'rg':
            if image.mode != 'RGB':
                raise ValueError(f"encoding='rg' needs an RGB file, this one is {image.mode}")
            red, green, _ = np.moveaxis(np.asarray(image, np.int32), 2, 0)
            both: NDArray[Any] = red + 256 * green
            return both
        if image.mode not in ('L', 'P', '1', 'I', 'I;16'):
            raise ValueError(
                f"stored as colours ({image.mode}); encoding='index' needs one number a pixel"
            )
        numbers: NDArray[Any] = np.asarray(image).astype(np.int32)
        return numbers

    def _numbered(self, labels: NDArray[Any]) -> NDArray[np.int16]:
        if self.zero_is == 'ignore':
            zero = labels == 0
            labels = np.where(labels == self.ignore_index, labels, labels - 1)
            labels[zero] = self.ignore_index
        return labels.astype(np.int16)
