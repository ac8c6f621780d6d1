"""Chromium for scripts: pages are opened, measured and photographed by its DevTools protocol."""

import fcntl
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
