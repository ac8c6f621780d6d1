"""Colours of pictures: of paper and text, and one for each class, the same everywhere."""

from colorsys import hls_to_rgb

Colour = tuple[int, int, int]

PAPER, INK, SOFT = (255, 255, 255), (28, 30, 33), (93, 100, 109)  # SOFT: of smaller text
BLUE, ORANGE = (29, 95, 209), (194, 97, 12)  # what is right, what is wrong

_TURN = 0.381966  # of the circle: golden, so that no two of the first classes come close
_SHADES = (0.55, 0.42, 0.7)  # lightness; the next one after each full round of hues
_ROUND = 8
_SATURATION = 0.8


def colour_of(label: int) -> Colour:
    """Red, green and blue, 0..255, of the class of a number."""
    lightness = _SHADES[label // _ROUND % len(_SHADES)]
    red, green, blue = hls_to_rgb((0.6 + label * _TURN) % 1, lightness, _SATURATION)
    return round(255 * red), round(255 * green), round(255 * blue)


def css_colour(colour: Colour) -> str:
    """For HTML and SVG, such as #1d5fd1."""
    return '#' + ''.join(f'{level:02x}' for level in colour)
