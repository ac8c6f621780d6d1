"""Images from paths, folders, arrays or PIL images, as tensors that a model takes.

Shapes: B images, C channels, H W pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from mae.datasets import ImageFolder
from mae.datasets.sources.folder import IMAGE_EXTENSIONS
from mae.datasets.transforms import CenterCrop, DecodeImage, ResizeShort
from mae.datasets.transforms.geometry import resize_pixels
from mae.utils.errors import DataError

Picture = str | Path | NDArray[np.uint8] | Image.Image | Tensor
Pictures = Picture | Iterable[Picture]
NamedImage = tuple[str, Picture]
MOST_IN_PICTURE = 64  # images
_ARRAYS = ('.npy',)
_ONE = (np.ndarray, Tensor, Image.Image, bytes, bytearray)  # none of which is a list of images


def name_images(images: Pictures) -> Iterator[NamedImage]:
    """One by one, each with its path, or where it has none with its number.

    Args:
        images: the path of an image or of a folder, where hidden and system files are passed over,
            and arrays (.npy) where there are image files;
            an array (H, W), (H, W, C) or (B, H, W, C), or a tensor (H, W), (C, H, W) or
            (B, C, H, W), uint8 or as `DecodeImage` takes them; a PIL image; or an iterable of
            these.

    Raises:
        DataError: a folder without images, or an empty path.
    """
    for number, image in enumerate(_each(images)):
        yield (image if isinstance(image, str) else f'image {number}'), image


class ReadImage:
    """From one image to (C, H, W) of a model's size, as the recipes evaluate.

    A model of 224 pixels sees the centre 224 of a short side of 256, any other the whole short
    side; one that is not square sees the largest centred part of its shape.

    Args:
        channels: C.
        size: (H, W).
        bits: 8 or 16, see `DecodeImage`.
    """

    def __init__(self, channels: int, size: tuple[int, int], bits: int = 8) -> None:
        self.channels = channels
        self.size = size
        self.decode = DecodeImage(channels, bits=bits)
        self.resize = ResizeShort(short_side(size))
        self.crop = CenterCrop(size)

    def __call__(self, image: Picture) -> Tensor:
        """The pixels.

        Raises:
            ValueError: a file is missing or no image (names the path), or pixels in memory are not
                of the types and shapes that `name_images` takes; says which they are.
        """
        results = decode_picture(image, self.decode)
        if self.size[0] != self.size[1]:
            return fit_image(results['img'], self.size)
        pixels: Tensor = self.crop(self.resize(results))['img']
        return pixels


def short_side(size: tuple[int, int]) -> int:
    """What the shorter side of an image becomes before the centre is cut out, in pixels.

    Args:
        size: (H, W) of the model.
    """
    return 256 if size == (224, 224) else size[0]


def decode_picture(image: Picture, decode: Callable[[dict[str, Any]], Any]) -> Any:
    """What `decode`, a `DecodeImage`, makes of one picture.

    Raises:
        ValueError: it is neither a path nor an image, or as `decode`.
    """
    if isinstance(image, str | Path):
        return decode({'img_path': str(image)})
    if isinstance(image, np.ndarray | Tensor | Image.Image):
        return decode({'img': image})
    raise ValueError(f'neither a path nor an image: {type(image).__name__}')


def fit_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest centred part of a shape, resized to it: (C, H, W)."""
    H, W = size
    height, width = image.shape[1:]
    scale = min(height / H, width / W)
    part = F.center_crop_image(image, [max(1, round(H * scale)), max(1, round(W * scale))])
    return resize_pixels(part, H, W)


def read_images(
    paths: Sequence[str | Path], channels: int, size: tuple[int, int], bits: int = 8
) -> Tensor:
    """Decode files to (B, C, H, W): the largest centred part of that shape, resized.

    Args:
        paths: files, or folders as `name_images` reads them.
        channels: C.
        size: (H, W).
        bits: 8 or 16, see `DecodeImage`.

    Raises:
        DataError: a file is missing or no image, or a folder holds none or too many; names the
            path.
        ValueError: there are no paths, or something else.
    """
    for path in paths if isinstance(paths, Sequence) else [paths]:
        if not isinstance(path, str | Path):
            kind = type(path).__name__
            raise ValueError(f'images must be a uint8 tensor (B, C, H, W) or paths, not a {kind}')
    if not paths:
        raise ValueError('no images given')
    files = [file for path in paths for file in _few_files(path)]
    decode = DecodeImage(channels, bits=bits)
    return torch.stack([fit_image(decode({'img_path': file})['img'], size) for file in files])


def decoded_bits(config: Mapping[str, Any]) -> int:
    """Bits that a config's `DecodeImage` gives, that of the test first; 8 without one."""
    for name in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        loader = config.get(name) or {}
        for step in loader.get('dataset', {}).get('pipeline', ()):
            decode = step.get('decode') or step
            if 'bits' in decode:
                return int(decode['bits'])
    return 8


def _each(images: Any) -> Iterator[Any]:
    if isinstance(images, str | Path):
        yield from _files(images)
    elif isinstance(images, np.ndarray | Tensor) and images.ndim == 4:
        yield from images
    elif isinstance(images, Iterable) and not isinstance(images, _ONE):
        for image in images:
            yield from _each(image)
    else:
        yield images


def _few_files(path: str | Path) -> list[str]:
    """The path of a file, or the files of a folder that fit into one picture."""
    files = list(_files(path))
    if len(files) > MOST_IN_PICTURE:
        raise DataError(
            f'{path} holds {len(files)} images, too many for one picture: give at most '
            f'{MOST_IN_PICTURE} of its files'
        )
    return files


def _files(name: str | Path) -> Iterator[str]:
    if name == '':  # as a path it would be the current folder
        raise DataError('a path is empty; is a variable not set?')
    if '://' in str(name):  # as a path it would lose a slash
        yield str(name)
        return
    path = Path(name).expanduser()
    if not path.is_dir():
        yield str(path)
        return
    folder = ImageFolder(str(path), labelled=False, extensions=(*IMAGE_EXTENSIONS, *_ARRAYS))

    def names() -> Iterator[str]:
        return (str(folder.get_data_info(index)['img_path']) for index in range(len(folder)))

    # Arrays beside image files are masks or the like.
    has_images = any(name.lower().endswith(IMAGE_EXTENSIONS) for name in names())
    kind = IMAGE_EXTENSIONS if has_images else _ARRAYS
    yield from (name for name in names() if name.lower().endswith(kind))
