"""What a notebook shows and a file keeps: pictures of pixels (Pillow) and drawings (SVG)."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from mae.utils.files import make_folder, whole_file, write_text
from mae.visualization.report import page, paragraph, png_uri

PIXEL_FILES = ('.png', '.html')
DRAWING_FILES = ('.svg', '.html')

# Of a file alone, which has no page around it.
_COLOURS = (
    '<style>svg{color:#1c1e21;background:#fff;font-family:system-ui,sans-serif}'
    '@media(prefers-color-scheme:dark){svg{color:#e8eaed;background:#1d2025}}</style>'
)


@dataclass(frozen=True)
class Drawing:
    """A drawing that a notebook shows by itself, in the colours of its page.

    Attributes:
        title: of the page that `save_figure` writes.
        svg: an `<svg>` element.
        note: a line to go below it; may be empty.
    """

    title: str
    svg: str = field(repr=False)
    note: str = ''

    def _repr_html_(self) -> str:
        note = f'<p>{escape(self.note)}</p>' if self.note else ''
        return f'<figure style="max-width:44rem;margin:0">{self.svg}{note}</figure>'


Figure = Image.Image | Drawing


def save_figure(figure: Figure, path: Path, title: str = '') -> None:
    """Write a figure as what the suffix says, whole or not at all.

    Args:
        path: `.png` for pictures of pixels, `.svg` for drawings, `.html` for both.
        title: of an HTML page; by default that of the drawing.

    Raises:
        ValueError: another suffix.
        OSError: the disk refused.
    """
    suffix = path.suffix.lower()
    known = DRAWING_FILES if isinstance(figure, Drawing) else PIXEL_FILES
    if suffix not in known:
        raise ValueError(f'this figure is written to {" or ".join(known)}, not to {path}')
    make_folder(path.parent)
    if isinstance(figure, Drawing):
        write_text(path, _page(figure, title) if suffix == '.html' else _alone(figure))
    elif suffix == '.html':
        alt = escape(title)
        image = f'<img src="{png_uri(np.asarray(figure))}" alt="{alt}" style="max-width:100%">'
        write_text(path, page(title, f'<figure>{image}</figure>'))
    else:
        with whole_file(path) as file:
            figure.save(file, 'PNG', optimize=True)


def _page(drawing: Drawing, title: str) -> str:
    notes = [paragraph(drawing.note, 'note')] if drawing.note else []
    # As wide as the lines of text above and below.
    style = 'style="max-width:44rem"'
    figure = f'<div class="columns" {style}><figure>{drawing.svg}</figure></div>'
    return page(title or drawing.title, figure, *notes)


def _alone(drawing: Drawing) -> str:
    """The element as a file, with a name space and colours of its own."""
    start, _, rest = drawing.svg.partition('>')
    return f'{start} xmlns="http://www.w3.org/2000/svg">{_COLOURS}{rest}\n'
