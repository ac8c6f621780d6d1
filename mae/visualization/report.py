"""Self-contained HTML pages: one file, nothing loaded from elsewhere.

Every function returns HTML; plain text handed to it is escaped. The one script there is copies
commands; a page states its hash, and that nothing else may run or be loaded.
"""

import hashlib
import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from mae.visualization.panels import Panel, Pixels
from mae.visualization.style import STYLE

_SMALL = 64  # pixels, up to which a picture keeps each of them, as PNG
_QUALITY = 85
PNG = 'data:image/png;base64,'
# The button is hidden where scripts do not run; a click on the command selects it in any case.
# `navigator.clipboard` is missing in pages that come over plain HTTP, as from another machine.
_COPY = """
for (const button of document.querySelectorAll('button.copy')) {
  button.hidden = false;
  button.addEventListener('click', () => {
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = document.execCommand('copy') ? 'copied' : 'selected';
    setTimeout(() => { button.textContent = 'copy'; }, 1500);
  });
}
"""


def page(title: str, *parts: str) -> str:
    """A whole document; its script is there if a part needs it."""
    script = f'<script>{_COPY}</script>' if any('class="copy"' in part for part in parts) else ''
    return '\n'.join(
        [
            '<!doctype html>',
            '<html lang="en">',
            '<head>',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            *([_policy(_COPY)] if script else []),
            f'<title>{escape(title)}</title>',
            f'<style>{STYLE}</style>',
            '</head>',
            '<body><main>',
            f'<h1>{escape(title)}</h1>',
            *parts,
            *([script] if script else []),
            '</main></body>',
            '</html>\n',
        ]
    )


def _policy(script: str) -> str:
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}{digest}\'">'


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]], css_class: str = '') -> str:
    """The first column holds words, the others numbers, or long words if it is 'wrapped'."""
    kind = f' class="{css_class}"' if css_class else ''
    top = ''.join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = ''.join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + ''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])
        + '</tr>\n'
        for row in rows
    )
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{top}</tr></thead>\n'
        f'<tbody>{body}</tbody></table></div>'
    )


def columns(*parts: str) -> str:
    """Side by side where there is room."""
    return '<div class="columns">' + ''.join(f'<div>{part}</div>' for part in parts) + '</div>'


def charts(*drawn: str) -> str:
    """Charts in frames, each of half the width where there is room."""
    frames = ''.join(f'<figure>{chart}</figure>' for chart in drawn)
    return f'<div class="columns charts">{frames}</div>'


def scaled(linear: str, logarithmic: str, name: str) -> str:
    """Two charts of the same values, and a box to tick for the second.

    Args:
        name: of the chart, different for each of the page.
    """
    key = escape(name.replace(' ', '-'))
    return (
        f'<div class="scaled"><input type="checkbox" id="log-{key}">'
        f'<label for="log-{key}">logarithmic</label>'
        f'<div class="linear">{linear}</div><div class="logarithmic">{logarithmic}</div></div>'
    )


def flipbook(
    names: Sequence[str],
    fixed: Sequence[Sequence[Pixels]],
    frames: Sequence[tuple[str, Sequence[Sequence[Pixels]]]],
) -> str:
    """Rows of pictures whose right columns change with the frame that is chosen, the last at first.

    Args:
        names: of all columns.
        fixed: the left pictures of each row.
        frames: at most `MOST_FRAMES`: name of its button, and the right pictures of each row.
    """
    buttons, last = [], len(frames) - 1
    for i, (name, _) in enumerate(frames):
        checked = ' checked' if i == last else ''
        buttons.append(
            f'<input type="radio" name="frame" id="frame-{i}"{checked}>'
            f'<label for="frame-{i}">{escape(name)}</label>'
        )
    left = len(fixed[0])
    cells = [f'<span>{escape(name)}</span>' for name in names]
    for row, pixels in enumerate(fixed):
        cells += [picture(one, f'image {row + 1}: {names[i]}') for i, one in enumerate(pixels)]
        for column in range(left, len(names)):
            images = [
                f'<div class="frame-{i}">{picture(rows[row][column - left], alt)}</div>'
                for i, (name, rows) in enumerate(frames)
                for alt in [f'image {row + 1}: {names[column]}, {name}']
            ]
            cells.append(f'<div>{"".join(images)}</div>')
    grid = f'<div class="grid" style="--columns:{len(names)}">{"".join(cells)}</div>'
    return f'<div class="flipbook"><div class="buttons">{"".join(buttons)}</div>{grid}</div>'


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


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """What colours stand for, each a (name, CSS colour); '' without any."""
    items = ''.join(
        f'<li><span class="chip" style="background:{colour}"></span>{escape(name)}</li>'
        for name, colour in entries
    )
    return f'<ul class="legend">{items}</ul>' if items else ''


def commands(*lines: str) -> str:
    """Command lines, with a button that copies them."""
    button = '<button class="copy" type="button" hidden>copy</button>'
    text = escape('\n'.join(lines))
    return f'<div class="command"><code>{text}</code>{button}</div>'


def picture(pixels: Pixels, alt: str) -> str:
    """An `<img>` element: every pixel as it is if it is small, else as JPEG."""
    if max(pixels.shape[:2]) <= _SMALL:
        return f'<img class="pixels" src="{png_uri(pixels)}" alt="{escape(alt)}">'
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format='JPEG', quality=_QUALITY)
    uri = f'data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}'
    return f'<img src="{uri}" alt="{escape(alt)}">'


def png_uri(pixels: Pixels) -> str:
    """uint8 (H, W) or (H, W, 3) as a `data:` URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format='PNG', optimize=True)
    return PNG + b64encode(buffer.getvalue()).decode()
