"""Draws the figures of pages: `python docs/pictures.py work_dirs/demo`.

Those of docs/en/user_guides/pictures.md, whose models are those of `make demo` and whose images are
handwritten digits and photos of scikit-image, and of docs/en/notes/photo_crops.md.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IMAGES = Path(__file__).resolve().parent / 'en' / 'images'
TOOLS = Path(__file__).resolve().parents[1] / 'tools'
CONFIG = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
ON_PHOTOS = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
_SHOWN = 3  # digits beside each other
_CROPS = {'train': ('training', 8), 'val': ('validation', 4)}  # titles and crops beside each other


def main() -> None:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('demo', type=Path, help='work dir of a finished `make demo`')
    args = parser.parse_args()
    from mae.apis import draw_attention, draw_features, draw_neighbours, draw_pca, get_model
    from mae.visualization.figures import save_figure

    model = get_model(CONFIG, args.demo / 'pretrain' / 'epoch_170.pth')
    with tempfile.TemporaryDirectory() as folder:
        files = _digits(Path(folder))
        some = files[:: len(files) // _SHOWN][:_SHOWN]
        colours = draw_pca(model, some)
        right = colours.crop((colours.width // 2, 0, *colours.size))  # without the images again
        sheets = draw_attention(model, some), right
        near = draw_neighbours(model, folder, some, k=4)
        drawing = draw_features(model, folder)
    _save(_beside(*sheets), 'attention_pca')
    _save(near, 'neighbours')
    save_figure(drawing, IMAGES / 'features.svg')
    _save(_batch_of_photos().quantize(128), 'batch')  # photos are large files otherwise
    _save(_crops_of_photos().quantize(128), 'photo_crops')


def _digits(folder: Path) -> list[Path]:
    """The validation digits as files in class folders."""
    from mae.datasets import Digits

    source, files = Digits(split='val'), []
    for number in range(len(source)):
        info = source.get_data_info(number)
        files.append(folder / str(info['gt_label']) / f'{number}.png')
        files[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(info['img'][0].numpy()).save(files[-1])
    return files


def _batch_of_photos() -> Image.Image:
    from skimage import data

    from mae.apis import draw_batch, load_config

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'train' / 'photos').mkdir(parents=True)
        for name in ('chelsea', 'rocket'):
            path = Path(folder) / 'train' / 'photos' / f'{name}.jpg'
            Image.fromarray(getattr(data, name)()).save(path, quality=95)
        changes: dict[str, Any] = {
            'train_dataloader.dataset.source.root': folder,
            'train_dataloader.batch_size': 2,
            'global_batch_size': 2,
        }
        return draw_batch(load_config(ON_PHOTOS, changes))


def _crops_of_photos() -> Image.Image:
    """A row of crops for each of three photos that are in the public domain."""
    from skimage import data

    from mae.utils.ratio import evenly_spaced
    from mae.visualization.sheets import Cell, picture_sheet

    names = ('astronaut', 'chelsea', 'coffee')
    with tempfile.TemporaryDirectory() as folder:
        photos, crops = Path(folder, 'photos'), Path(folder, 'crops')
        photos.mkdir()
        for name in names:
            Image.fromarray(getattr(data, name)()).save(photos / f'{name}.png')
        command = [sys.executable, TOOLS / 'data/crop_photos.py', photos, crops]
        subprocess.run(command, check=True)

        def some(split: str, name: str) -> list[Cell]:
            files = sorted((crops / split / name).iterdir())
            chosen = evenly_spaced(len(files), _CROPS[split][1])
            return [Cell(np.asarray(Image.open(files[number]))) for number in chosen]

        rows = [[cell for split in _CROPS for cell in some(split, name)] for name in names]
    titles = [words for title, count in _CROPS.values() for words in (title, *[''] * (count - 1))]
    return picture_sheet(rows, titles, side=64)


def _beside(*sheets: Image.Image) -> Image.Image:
    width = sum(sheet.width for sheet in sheets)
    both = Image.new('RGB', (width, max(sheet.height for sheet in sheets)), 'white')
    left = 0
    for sheet in sheets:
        both.paste(sheet, (left, 0))
        left += sheet.width
    return both


def _save(sheet: Image.Image, name: str) -> None:
    sheet.save(IMAGES / f'{name}.png', optimize=True)


if __name__ == '__main__':
    main()
