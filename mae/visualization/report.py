"""Self-contained HTML pages: one file, no script, nothing loaded from elsewhere.

Every function returns HTML; plain text handed to it is escaped.
"""

import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from mae.visualization.panels import Panel, Pixels
from mae.visualization.style import STYLE


def page(title: str, *parts: str) -> str:
    """A whole document."""
    return '\n'.join(
        [
            '<!doctype html>',
            '<html lang="en">',
            '<head>',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<title>{escape(title)}</title>',
            f'<style>{STYLE}</style>',
            '</head>',
            '<body><main>',
            f'<h1>{escape(title)}</h1>',
            *parts,
            '</main></body>',
            '</html>\n',
        ]
    )


def section(title: str, *parts: str) -> str:
    """A part of the page under its own heading."""
    return '\n'.join(['<section>', f'<h2>{escape(title)}</h2>', *parts, '</section>'])


def paragraph(text: str, css_class: str = '') -> str:
    """Running text; 'lead' is larger, 'note' smaller."""
    attribute = f' class="{css_class}"' if css_class else ''
    return f'<p{attribute}>{escape(text).replace(" %", "&nbsp;%")}</p>'


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Large figures, each a (label, value)."""
    cells = (f'<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>' for k, v in facts)
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column holds words, the others numbers."""
    top = ''.join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = ''.join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + ''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])
        + '</tr>\n'
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n'
        f'<tbody>{body}</tbody></table></div>'
    )


def columns(*parts: str) -> str:
    """Side by side where there is room."""
    return '<div class="columns">' + ''.join(f'<div>{part}</div>' for part in parts) + '</div>'


def charts(*svgs: str) -> str:
    """Line charts, side by side where there is room."""
    return columns(*(f'<figure>{svg}</figure>' for svg in svgs))


def pictures(panels: Sequence[Panel], captions: Sequence[str]) -> str:
    """A card for each panel: original, masked, reconstruction."""
    names = ('original', 'masked', 'reconstruction')
    cards = []
    for panel, caption in zip(panels, captions, strict=True):
        images = ''.join(
            f'<img src="{png_uri(pixels)}" alt="{escape(caption)}: {name}">'
            for name, pixels in zip(names, panel.pictures, strict=True)
        )
        cards.append(
            f'<figure>{images}<figcaption>{"".join(f"<span>{name}</span>" for name in names)}'
            '</figcaption></figure>'
        )
    return f'<div class="pictures">{"".join(cards)}</div>'


def commands(lines: Iterable[str]) -> str:
    """Lines to copy."""
    return f'<pre><code>{escape(chr(10).join(lines))}</code></pre>'


def png_uri(pixels: Pixels) -> str:
    """uint8 (H, W) or (H, W, 3) as a `data:` URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format='PNG', optimize=True)
    return f'data:image/png;base64,{b64encode(buffer.getvalue()).decode()}'
