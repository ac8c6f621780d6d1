"""Rows of pictures with titles above the columns and a caption below each picture.

Shapes: H W pixels, h w grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mae.visualization.captions import break_text, fit_text
from mae.visualization.colours import INK, PAPER, SOFT
from mae.visualization.panels import Pixels

_FONT, _GAP = 12, 8
_LINE = _FONT + 4
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
    """

    pixels: Pixels
    caption: str = ''


def picture_sheet(
    rows: Sequence[Sequence[Cell]], titles: Sequence[str] = (), *, side: int = 160, note: str = ''
) -> Image.Image:
    """All pictures in one, each fitted into a square, small ones enlarged without smoothing.

    Args:
        rows: may differ in length.
        titles: of the columns; none leaves them out.
        side: of a square, in pixels.
        note: lines at the bottom, broken where the sheet is too narrow.
    """
    font = ImageFont.load_default(_FONT)
    columns = max(map(len, rows))
    caption = _LINE * any(cell.caption for row in rows for cell in row)
    width = columns * (side + _GAP) + _GAP
    top = _GAP + (_LINE if titles else 0)
    lines = break_text(note, width - 2 * _GAP, font)
    height = top + len(rows) * (side + caption + _GAP) + len(lines) * _LINE
    sheet = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        place = (_GAP + column * (side + _GAP), _GAP // 2)
        draw.text(place, fit_text(title, side, font), SOFT, font)
    for number, row in enumerate(rows):
        y = top + number * (side + caption + _GAP)
        for column, cell in enumerate(row):
            x = _GAP + column * (side + _GAP)
            sheet.paste(_fitted(cell.pixels, side), (x, y))
            draw.text((x, y + side + 1), fit_text(cell.caption, side, font), INK, font)
    for number, line in enumerate(lines):
        draw.text((_GAP, height - (len(lines) - number) * _LINE - 2), line, SOFT, font)
    return sheet


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
    """In the middle of a white square."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    sharp = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize(size, sharp)
    square = Image.new('RGB', (side, side), PAPER)
    square.paste(picture, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square
