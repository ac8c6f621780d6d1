"""Rows of pictures with titles above the columns and a caption below each picture.

Shapes: H W pixels, h w grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mae.visualization.captions import break_text, fit_text
from mae.visualization.colours import INK, ORANGE, PAPER, SOFT
from mae.visualization.panels import Panel, Pixels

_FONT, _GAP = 12, 8
_LINE = _FONT + 4
_SMALLEST = 96  # shorter side of a panel's pictures in pixels, to which smaller ones are enlarged
# Red, green and blue of a map, 0..1, from its lowest to its highest value: no grey among them, as
# the image below is.
_HEAT = np.array([[0.0, 0.0, 0.0], [0.4, 0.05, 0.5], [0.95, 0.35, 0.15], [1.0, 0.95, 0.35]])
_GREY = 0.3  # share of the image


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        caption: one line below; cut where it is wider than the picture.
        mistake: a second line, in orange; cut likewise.
    """

    pixels: Pixels
    caption: str = ''
    mistake: str = ''


def picture_sheet(
    rows: Sequence[Sequence[Cell]], titles: Sequence[str] = (), *, side: int = 160, note: str = ''
) -> Image.Image:
    """All pictures in one, each in a cell of the same size, on white.

    Small pictures are enlarged without smoothing. Cells are as wide and as high as the largest
    picture needs; under titles and above captions they are `side` wide.

    Args:
        rows: may differ in length.
        titles: of the columns; none leaves them out.
        side: longer side of each picture, in pixels.
        note: lines at the bottom, broken where the sheet is too narrow.
    """
    font = ImageFont.load_default(_FONT)
    cells = [cell for row in rows for cell in row]
    text = _LINE * (2 if any(c.mistake for c in cells) else any(c.caption for c in cells))
    sizes = [_fitted_size(cell.pixels, side) for cell in cells]
    width = side if titles or text else max(width for width, _ in sizes)
    height = max(height for _, height in sizes)
    top = _GAP + (_LINE if titles else 0)
    total = max(map(len, rows)) * (width + _GAP) + _GAP
    lines = break_text(note, total - 2 * _GAP, font)
    bottom = top + len(rows) * (height + text + _GAP)
    sheet = Image.new('RGB', (total, bottom + len(lines) * _LINE), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        place = (_GAP + column * (width + _GAP), _GAP // 2)
        draw.text(place, fit_text(title, width, font), SOFT, font)
    for number, row in enumerate(rows):
        y = top + number * (height + text + _GAP)
        for column, cell in enumerate(row):
            x = _GAP + column * (width + _GAP)
            picture = _fitted(cell.pixels, side)
            middle = (x + (width - picture.width) // 2, y + (height - picture.height) // 2)
            sheet.paste(picture, middle)
            for line, (words, ink) in enumerate(((cell.caption, INK), (cell.mistake, ORANGE))):
                place = (x, y + height + 1 + line * _LINE)
                draw.text(place, fit_text(words, width, font), ink, font)
    for number, words in enumerate(lines):
        draw.text((_GAP, bottom + number * _LINE - 2), words, SOFT, font)
    return sheet


def contact_sheet(panels: Sequence[Panel]) -> Image.Image:
    """All panels in one picture, a row each, with their note below.

    Args:
        panels: all of the same size.
    """
    sides = panels[0].original.shape[:2]
    scale = max(1, -(-_SMALLEST // min(sides)))
    rows = [[Cell(pixels) for pixels in panel.pictures] for panel in panels]
    return picture_sheet(rows, side=scale * max(sides), note=panels[0].note)


def heat_over(pixels: Pixels, heat: NDArray[np.floating]) -> Pixels:
    """An image in dark grey, with the cells of a map in colour: black, purple, orange, yellow.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
        heat: (h, w), shown from its lowest to its highest value; h and w divide H and W.
    """
    H, W = pixels.shape[:2]
    low, high = float(heat.min()), float(heat.max())
    level = (heat - low) / (high - low) if high > low else np.zeros_like(heat)
    stops = np.linspace(0, 1, len(_HEAT))
    colour = np.stack([np.interp(level, stops, channel) for channel in _HEAT.T], -1)  # h,w,3
    large = colour.repeat(H // heat.shape[0], 0).repeat(W // heat.shape[1], 1)
    grey = np.asarray(Image.fromarray(pixels).convert('L'), np.float64)[..., None] / 255
    mixed = _GREY * grey + (1 - _GREY) * large
    return np.ascontiguousarray((255 * mixed).round().astype(np.uint8))


def _fitted(pixels: Pixels, side: int) -> Image.Image:
    size = _fitted_size(pixels, side)
    is_small = side >= 2 * max(pixels.shape[:2])
    sharp = Image.Resampling.NEAREST if is_small else Image.Resampling.BICUBIC
    return Image.fromarray(pixels).resize(size, sharp)


def _fitted_size(pixels: Pixels, side: int) -> tuple[int, int]:
    """Width and height of a picture whose longer side is `side`."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
