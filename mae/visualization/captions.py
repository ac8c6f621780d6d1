"""Lines of text that fit a picture's width."""

from pathlib import Path

from PIL import ImageFont

from mae.utils.text import printable

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
