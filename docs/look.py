"""Looks at the built site in Chromium, as `make docs` leaves it: `python docs/look.py [PAGES]`.

Every page, light and dark, on a screen and on a phone: a screenshot of each into `build/look`; what
overflows its width, what the browser's console complains of, links that lead nowhere, and whether
the search finds what readers look for. The exit status is 1 if anything is wrong.
"""

import argparse
import base64
import itertools
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from browser import Browser, browsing

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / 'build/docs'
WORDS = (
    *('mask ratio', 'learning rate', 'fine-tune', 'resume', 'segmentation'),
    *('own data', 'NaN', 'convert'),
)
WIDTHS = (1280, 400)
SCHEMES = ('light', 'dark')
MAX_HEIGHT = 12000  # pixels of a screenshot
# Pixels by which a page scrolls sideways, which boxes that scroll by themselves do not add to.
OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
SEARCHED = '/found|did not match/.test(document.querySelector(".search-summary")?.innerText)'
FOUND = 'Array.from(document.querySelectorAll("#search-results li a"), a => a.textContent)'


def look_at(browser: Browser, page: Path, out: Path) -> Iterator[str]:
    """Screenshots of a page, and what is wrong with it."""
    name = page.relative_to(SITE).with_suffix('')
    for width, scheme in itertools.product(WIDTHS, SCHEMES):
        phone = width < 768
        browser.call(
            'Emulation.setDeviceMetricsOverride',
            **{'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': phone},
        )
        dark = {'name': 'prefers-color-scheme', 'value': scheme}
        browser.call('Emulation.setEmulatedMedia', features=[dark])
        browser.open(page.as_uri())
        too_wide = browser.ask(OVERFLOW)
        if too_wide > 0:
            yield f'{name}: {too_wide} pixels wider than {width}'
        yield from (f'{name}: {text}' for text in browser.complaints())
        height = min(browser.ask('document.documentElement.scrollHeight'), MAX_HEIGHT)
        clip = {'x': 0, 'y': 0, 'width': width, 'height': height, 'scale': 1}
        shot = browser.call(
            'Page.captureScreenshot', format='jpeg', clip=clip, captureBeyondViewport=True
        )
        file = out / f'{str(name).replace("/", ".")}.{width}.{scheme}.jpg'
        file.write_bytes(base64.b64decode(shot['data']))


def redirects(page: Path) -> bool:
    """Whether a page only redirects to another one."""
    return 'http-equiv="refresh"' in page.read_text(encoding='utf-8')


def look_for(browser: Browser, word: str) -> Iterator[str]:
    """Whether the search of the site finds a word in pages, and shows them before the reference."""
    browser.open(f'{(SITE / "search.html").as_uri()}?q={word}')
    wait = 'new Promise(done => setTimeout(done, 200))'
    for _ in range(300):
        if browser.ask(SEARCHED):
            break
        browser.ask(wait)
    titles = browser.ask(FOUND)
    print(f'search "{word}": {len(titles)} results, {"; ".join(titles[:5])}')
    if not titles or any(title.startswith('mae.') for title in titles[:3]):
        yield f'the search for "{word}" does not begin with three pages'


class _Links(HTMLParser):
    """Addresses that a page links to, and the places that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ('href', 'src') and value and tag != 'link':
                self.links.append(value)
            elif name == 'id' and value:
                self.places.add(value)


def broken_links(pages: Sequence[Path]) -> Iterator[str]:
    """Links of pages within the site whose file or place does not exist."""
    known = {page: _Links(page) for page in SITE.rglob('*.html')}
    for page in pages:
        for link in dict.fromkeys(known[page].links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            place = unquote(parts.fragment)
            if not path.is_file():
                yield f'{page.relative_to(SITE)}: {link} leads nowhere'
            elif place and path in known and place not in known[path].places:
                yield f'{page.relative_to(SITE)}: {link} has no such place'


def main(argv: Sequence[str] | None = None) -> None:
    """Look at pages, and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pages', nargs='*', metavar='PAGES', help='patterns; default: all')
    parser.add_argument('--out', type=Path, default=ROOT / 'build/look')
    parser.add_argument('--browser', default='chromium', help='the program')
    args = parser.parse_args(argv)
    pages = sorted({page for pattern in args.pages or ['**/*.html'] for page in SITE.glob(pattern)})
    pages = [page for page in pages if not redirects(page)]
    if not args.pages:  # listings of the code are made by Sphinx alone
        pages = [page for page in pages if '_modules' not in page.parts]
    if not pages:
        sys.exit(f'error: no such page in {SITE}; the site is built by: make docs')
    args.out.mkdir(parents=True, exist_ok=True)
    wrong = set()
    try:
        for fault in faults(pages, args.browser, args.out):
            if fault not in wrong:
                print(fault, file=sys.stderr, flush=True)
            wrong.add(fault)
    except RuntimeError as error:
        sys.exit(f'error: {args.browser}: {error}')
    print(f'{len(pages)} pages, {len(wrong)} faults; screenshots in {args.out}')
    sys.exit(bool(wrong))


def faults(pages: Sequence[Path], program: str, out: Path) -> Iterator[str]:
    """What is wrong with the site, page by page, and then its search."""
    yield from broken_links(pages)
    with browsing(program) as browser:
        for page in pages:
            yield from look_at(browser, page, out)
        for word in WORDS:
            yield from look_for(browser, word)


if __name__ == '__main__':
    main()
