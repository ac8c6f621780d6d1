"""Cut photographs into small crops: a folder of classes on which to try things on a CPU.

Each photograph is a class. Its training crops come from the first part along its longer side, its
validation crops from the rest, with a gap between, so that no pixel is in both. Nothing is random.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mae.utils.command_line import parse

if TYPE_CHECKING:
    from torch import Tensor

_TRAIN = 0.6  # of the longer side; a gap of one crop follows, then validation


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('photos', metavar='PHOTOS', help='folder of photographs, searched in depth')
    parser.add_argument(
        'out', type=Path, metavar='OUT', help='folder to write, with train and val, PNGs in classes'
    )
    for name, default, what in (
        ('size', 32, 'side of a crop in pixels'),
        ('short-side', 256, 'shorter side to which a photograph is scaled first, in pixels'),
        ('train', 100, 'training crops of a photograph, which overlap where it has to be'),
        ('val', 25, 'validation crops of a photograph'),
    ):
        parser.add_argument(
            f'--{name}', type=int, default=default, metavar='N', help=f'{what} (default: {default})'
        )
    args = parse(parser, argv)
    if min(args.size, args.train, args.val) < 1:
        parser.error('--size, --train and --val must be at least 1')
    if args.short_side < args.size:
        parser.error(f'--short-side {args.short_side} is less than --size {args.size}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Cut; `argv` stands for the command line."""
    args = parse_args(argv)
    from rich.progress import track

    from mae.utils.files import whole_folder

    photos = photos_by_class(args.photos, args.out)
    with whole_folder(args.out) as folder:
        for name, path in track(photos.items(), 'cutting'):
            img = scaled(path, args.short_side)
            for split, part in zip(('train', 'val'), parts(img, args.size), strict=True):
                write(folder / split / name, crops(part, args.size, getattr(args, split), path))
    print(f'{len(photos)} photographs: {args.train} training and {args.val} validation crops each')


def photos_by_class(root: str, out: Path) -> dict[str, str]:
    """Paths of the photographs by the name of their class, which is the file's without its ending.

    Raises:
        DataError: fewer than two, two of one name, or `out` would be among them or exists.
    """
    from mae.datasets import ImageFolder
    from mae.utils.errors import DataError
    from mae.utils.text import printable

    source = ImageFolder(root, labelled=False)
    if out.exists():
        raise DataError(f'{out} exists already; remove it, or give another place')
    if out.resolve().is_relative_to(Path(source.folder).resolve()):
        raise DataError(f'{out} lies within {source.folder}, among the photographs; give another')
    paths = [str(source.get_data_info(index)['img_path']) for index in range(len(source))]
    found: dict[str, str] = {}
    for path in paths:
        other = found.setdefault(Path(path).stem, path)
        if other != path:
            both = f'{printable(other)} and {printable(path)}'
            raise DataError(f'{both} would be one class; rename one of them')
    if len(found) < 2:
        raise DataError(f'{source.folder}: one photograph alone makes no classes; add others')
    return found


def scaled(path: str, short_side: int) -> 'Tensor':
    """A photograph as uint8 (3, H, W), made smaller.

    Raises:
        DataError: it cannot be read, or would have to be enlarged.
    """
    from mae.datasets.transforms import DecodeImage, ResizeShort
    from mae.utils.errors import DataError
    from mae.utils.text import printable

    results: dict[str, Any] = DecodeImage()({'img_path': path})
    height, width = results['img'].shape[-2:]
    if min(height, width) < short_side:
        raise DataError(
            f'{printable(path)}: {width} x {height} pixels, smaller than --short-side '
            f'{short_side}; lower that, or take the photograph away'
        )
    return ResizeShort(short_side)(results)['img']


def parts(img: 'Tensor', size: int) -> tuple['Tensor', 'Tensor']:
    """The parts of an image (3, H, W) for training and for validation, `size` pixels apart."""
    axis = 1 if img.shape[1] > img.shape[2] else 2
    end = int(_TRAIN * img.shape[axis])
    rest = max(img.shape[axis] - end - size, 0)
    return img.narrow(axis, 0, end), img.narrow(axis, img.shape[axis] - rest, rest)


def crops(part: 'Tensor', size: int, number: int, path: str) -> Iterator['Tensor']:
    """So many crops, spread evenly in rows and columns, no two at the same place.

    Args:
        part: of a photograph, (3, H, W).
        path: the photograph, for the message.

    Raises:
        DataError: it has fewer places.
    """
    from mae.utils.errors import DataError
    from mae.utils.ratio import evenly_spaced
    from mae.utils.text import counted, printable

    height, width = (max(side - size + 1, 0) for side in part.shape[1:])  # places for a corner
    columns = min(max(round(math.sqrt(number * width / max(height, 1))), 1), max(width, 1))
    rows = -(-number // columns)
    if rows > height or columns > width:
        raise DataError(
            f'{printable(path)}: a part of {part.shape[2]} x {part.shape[1]} pixels has no places '
            f'for {counted(number, "crop")} of {size}; fewer, a smaller --size or a larger '
            '--short-side'
        )
    places = [(y, x) for y in evenly_spaced(height, rows) for x in evenly_spaced(width, columns)]
    for chosen in evenly_spaced(len(places), number):
        y, x = places[chosen]
        yield part[:, y : y + size, x : x + size]


def write(folder: Path, images: Iterator['Tensor']) -> None:
    """Images as PNGs with ascending numbers."""
    from PIL import Image

    folder.mkdir(parents=True)
    for number, img in enumerate(images):
        Image.fromarray(img.permute(1, 2, 0).contiguous().numpy()).save(folder / f'{number:04}.png')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
