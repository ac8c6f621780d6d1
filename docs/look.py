"""Looks at the built site in Chromium, as `make docs` leaves it: `python docs/look.py [PAGES]`.

Every page, light and dark, on a screen and on a phone: a screenshot of each into `build/look`; what
overflows its width, what the browser's console complains of, links that lead nowhere, and whether
the search finds what readers look for. The exit status is 1 if anything is wrong.
"""

import argparse
import base64
import fcntl
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / 'build/docs'
WORDS = ('resume', 'own data', 'mask ratio', 'NaN', 'convert')
WIDTHS = (1280, 400)
SCHEMES = ('light', 'dark')
MAX_HEIGHT = 12000  # pixels of a screenshot
# Pixels by which a page scrolls sideways, which boxes that scroll by themselves do not add to.
OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
SEARCHED = '/found|did not match/.test(document.querySelector(".search-summary")?.innerText)'
FOUND = 'Array.from(document.querySelectorAll("#search-results li a"), a => a.textContent)'


# --- the browser ----------------------------------------------------------------------------------


class Browser:
    """Chromium by its DevTools protocol: JSON over two pipes, a zero byte behind each message."""

    def __init__(self, program: str) -> None:
        """Start it, with a profile of its own that is removed by `close`."""
        self._profile = tempfile.TemporaryDirectory(prefix='look-', ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()
        # Above the numbers 3 and 4, which the shell gives them: else one would close the other.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1])]
        options = ['--headless', '--no-sandbox', '--hide-scrollbars', '--remote-debugging-pipe']
        options += [f'--user-data-dir={self._profile.name}', 'about:blank']
        self._process = subprocess.Popen(
            ['bash', '-c', f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}', program, *options],
            pass_fds=ends,
            stderr=subprocess.DEVNULL,
        )
        for end in (ours[0], theirs[1], *ends):
            os.close(end)
        self._out, self._in = ours[1], theirs[0]
        self._numbers = itertools.count(1)
        self._rest, self._session = b'', ''
        self.events: list[dict[str, Any]] = []

    def attach(self) -> None:
        """Open a tab, which the calls that follow are for."""
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        session = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = session['sessionId']
        for domain in ('Page', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events meanwhile are kept in `events`."""
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        try:
            os.write(self._out, json.dumps(message).encode() + b'\0')
        except BrokenPipeError:
            raise RuntimeError('the browser has ended') from None
        while (answer := self._read()).get('id') != number:
            self.events.append(answer)
        if 'error' in answer:
            raise RuntimeError(f'{method}: {answer["error"]["message"]}')
        return answer['result']

    def _read(self) -> dict[str, Any]:
        while b'\0' not in self._rest:
            part = os.read(self._in, 1 << 16)
            if not part:
                raise RuntimeError('the browser has ended')
            self._rest += part
        line, _, self._rest = self._rest.partition(b'\0')
        return json.loads(line)

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.events.clear()
        self.call('Page.navigate', url=address)
        while not any(event.get('method') == 'Page.loadEventFired' for event in self.events):
            self.events.append(self._read())

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page, once it has one."""
        found = self.call(
            'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
        )
        return found['result'].get('value')

    def complaints(self) -> list[str]:
        """What the console said since the page was opened, warnings left out."""
        said = []
        for event in self.events:
            params = event.get('params', {})
            if event.get('method') == 'Runtime.exceptionThrown':
                said.append(params['exceptionDetails']['text'])
            elif event.get('method') == 'Log.entryAdded' and params['entry']['level'] == 'error':
                said.append(f'{params["entry"]["text"]} {params["entry"].get("url", "")}')
        return said

    def close(self) -> None:
        """End it."""
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()


@contextmanager
def browsing(program: str) -> Iterator[Browser]:
    """A browser that is ended in any case."""
    browser = Browser(program)
    try:
        browser.attach()
        yield browser
    finally:
        browser.close()


# --- what is looked for ---------------------------------------------------------------------------


def leads_on(page: Path) -> bool:
    """Whether a page sends the browser to another one at once: there is nothing to look at."""
    return 'http-equiv="refresh"' in page.read_text(encoding='utf-8')


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


def look_for(browser: Browser, word: str) -> Iterator[str]:
    """Whether the search of the site finds a word in a page, not in the reference alone."""
    browser.open(f'{(SITE / "search.html").as_uri()}?q={word}')
    wait = 'new Promise(done => setTimeout(done, 200))'
    for _ in range(300):
        if browser.ask(SEARCHED):
            break
        browser.ask(wait)
    titles = browser.ask(FOUND)
    print(f'search "{word}": {len(titles)} results, {"; ".join(titles[:5])}')
    if not any(not title.startswith('mae.') for title in titles[:10]):
        yield f'the search finds no page with "{word}" among its first ten results'


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
    if not args.pages:  # listings of the code are made by Sphinx alone
        pages = [page for page in pages if '_modules' not in page.parts]
    pages = [page for page in pages if not leads_on(page)]
    if not pages:
        sys.exit(f'error: no such page in {SITE}; the site is built by: make docs')
    args.out.mkdir(parents=True, exist_ok=True)
    wrong = list(broken_links(pages))
    try:
        with browsing(args.browser) as browser:
            for page in pages:
                wrong += look_at(browser, page, args.out)
            for word in WORDS:
                wrong += look_for(browser, word)
    except RuntimeError as error:
        sys.exit(f'error: {args.browser}: {error}')
    print(f'{len(pages)} pages, {len(wrong)} faults; screenshots in {args.out}')
    sys.exit('\n'.join(dict.fromkeys(wrong)) or 0)


if __name__ == '__main__':
    main()
