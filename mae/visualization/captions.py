"""Lines of text that fit a picture's width."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import ImageFont

from mae.utils.text import printable

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Entry = TypeVar('_Entry')


def caption_of(name: str) -> str:
    """Of an image, by its path or number: the name of the file."""
    return printable(Path(name).name)


def fit_text(text: str, width: int, font: Font) -> str:
    """The text, cut at its end to at most `width` pixels."""
    while font.getlength(text) > width and len(text) > 1:
        text = f'{text[:-2]}…'
    return text


def break_text(text: str, width: int, font: Font) -> list[str]:
    """The words in lines of at most `width` pixels; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f'{lines[-1]} {word}' if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def legend_lines(
    entries: Sequence[_Entry], spaces: Sequence[float], *, left: float, right: float
) -> list[list[tuple[float, _Entry]]]:
    """Entries of a legend with their left edges, in as many lines as they need.

    Args:
        entries: of any kind.
        spaces: width of each, with the gap behind it.
        left: edge at which each line begins.
        right: edge that an entry passes only if it begins its line.
    """
    lines: list[list[tuple[float, _Entry]]] = []
    place = right
    for entry, space in zip(entries, spaces, strict=True):
        if place + space > right or not lines:
            lines.append([])
            place = left
        lines[-1].append((place, entry))
        place += space
    return lines
