"""Pictures of a classifier's mistakes: confusion matrix, and a grid of single images.

Shapes: N classes, C channels, H W pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mae.visualization.captions import Font
from mae.visualization.colours import BLUE, INK, ORANGE, PAPER, SOFT
from mae.visualization.panels import Pixels
from mae.visualization.sheets import Cell, picture_sheet

_FONT = 12
_MOST_NUMBERS, _MOST_NAMES = 20, 80  # classes that leave room for numbers in cells, for names
_LONGEST = 24  # letters of a name
_GAP = 8


def confusion_picture(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Image.Image:
    """A confusion matrix: a row for each label, shaded by the share of its images in each column.

    The diagonal is blue, mistakes are orange. Up to 20 classes the cells show numbers of images; up
    to 80 rows and columns have names.

    Args:
        confusion: (N, N), numbers of images, labels by predictions.
        names: of the classes, N.
    """
    counts = np.asarray(confusion)
    N = len(counts)
    cell = 36 if N <= _MOST_NUMBERS else 14 if N <= _MOST_NAMES else max(1, 1000 // N)
    font = ImageFont.load_default(_FONT)
    labels = [_short(name) for name in names] if N <= _MOST_NAMES else []
    margin = _GAP + round(max((font.getlength(label) for label in labels), default=0))
    matrix = _shaded(counts, cell)
    caption = 'rows: labels, columns: predictions; shade: share of the row'
    width = max(margin + matrix.width, round(font.getlength(caption))) + 2 * _GAP
    sheet = Image.new('RGB', (width, margin + matrix.height + 3 * _GAP + _FONT), PAPER)
    left, top = margin + _GAP, margin + _GAP
    sheet.paste(matrix, (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 1, top - 1, left + matrix.width, top + matrix.height), outline=SOFT)
    for number, label in enumerate(labels):
        middle = round((number + 0.5) * cell)
        draw.text((left - _GAP // 2, top + middle), label, INK, font, anchor='rm')
        upright = _upright(label, font)
        sheet.paste(upright, (left + middle - _FONT // 2 - 2, top - upright.height - _GAP // 2))
    for (row, column), count in np.ndenumerate(counts) if N <= _MOST_NUMBERS else ():
        if count:
            dark = count > 0.5 * counts[row].sum()
            place = (left + (column + 0.5) * cell, top + (row + 0.5) * cell)
            draw.text(place, str(count), PAPER if dark else INK, font, anchor='mm')
    draw.text((_GAP, sheet.height - _GAP), caption, SOFT, font, anchor='lb')
    return sheet


def mistakes_picture(
    images: Sequence[Pixels], captions: Sequence[tuple[str, str]], *, columns: int = 6
) -> Image.Image:
    """Images in a grid, each with two lines below, the second in orange.

    Args:
        images: uint8 (H, W) or (H, W, 3).
        captions: for each image, its two lines.
        columns: pictures in a row.
    """
    cells = [Cell(pixels, *lines) for pixels, lines in zip(images, captions, strict=True)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return picture_sheet(rows, side=128)


def _shaded(counts: NDArray[np.int64], cell: int) -> Image.Image:
    """The matrix without text."""
    share = counts / counts.sum(1, keepdims=True).clip(1)
    right = np.eye(len(counts), dtype=bool)[..., None]
    ink = np.where(right, BLUE, ORANGE)
    # The root lifts what is rare: one mistake in a hundred is a tenth of the shade.
    pixels = 255 + np.sqrt(share)[..., None] * (ink - 255)
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    return picture.resize((cell * len(counts),) * 2, Image.Resampling.NEAREST)


def _upright(text: str, font: Font) -> Image.Image:
    line = Image.new('RGB', (round(font.getlength(text)) + 1, _FONT + 4), PAPER)
    ImageDraw.Draw(line).text((0, 0), text, INK, font)
    return line.rotate(90, expand=True)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 1]}…'
