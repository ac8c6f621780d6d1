"""Where a person watches, progress is shown; a file or a pipe has plain lines."""

import io
import logging
import sys
from types import SimpleNamespace

import pytest

from mae.engine.hooks.progress import LiveLine, NotebookBar
from mae.visualization.runs.progress import Progress

PROGRESS = Progress(
    step=1, steps=2, epoch=1, epochs=1, loss=0.5, images_per_second=10.0, seconds_left=1.0
)
HOOK = {'default_hooks.progress': dict(type='ProgressHook'), 'train_cfg.max_epochs': 2}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def log():
    """A logger with one handler, which writes to what a test gives it."""
    logger = logging.Logger('test')

    def to(stream):
        logger.addHandler(logging.StreamHandler(stream))
        return logger

    return to


def screen(text):
    """What a terminal shows of it: lines that are cleared are gone."""
    lines = ['']
    for part in text.replace('\r\x1b[K', '\x00').split('\n'):
        lines.append(part.rpartition('\x00')[2])
    return [line for line in lines if line]


def test_the_line_stays_below_the_log():
    stream = Terminal()
    logger = logging.Logger('test')
    logger.addHandler(logging.StreamHandler(stream))
    line = LiveLine(logger.handlers, stream)
    line.show(PROGRESS)
    logger.info('one')
    line.show(PROGRESS)
    first, last = screen(stream.getvalue())
    assert first == 'one'
    assert last.startswith('[==========----------]  50%')
    line.close()
    logger.info('two')
    assert screen(stream.getvalue()) == ['one', 'two']


def test_a_terminal_that_is_gone_does_not_matter():
    stream = Terminal()
    line = LiveLine([], stream)
    stream.close()
    line.show(PROGRESS)
    line.close()


def test_a_notebook_shows_one_drawing_and_only_warnings(log):
    stream, drawn = io.StringIO(), []
    logger = log(stream)

    def display(content, display_id):
        drawn.append(content)
        return SimpleNamespace(update=drawn.append)

    bar = NotebookBar(logger.handlers, display, str)
    bar.show(PROGRESS)
    bar.show(PROGRESS)
    logger.info('a line')
    logger.warning('beware')
    bar.close()
    logger.info('the end')
    assert stream.getvalue() == 'beware\nthe end\n'
    assert len(drawn) == 2
    assert all('<progress' in text for text in drawn)


def handlers_to(monkeypatch, stream):
    """Runs print to `stream`, which mmengine's logger takes when it is made."""
    monkeypatch.setattr(sys, 'stdout', stream)


def test_a_pipe_has_plain_lines(make_runner, monkeypatch):
    stream = io.StringIO()
    handlers_to(monkeypatch, stream)
    make_runner('run', HOOK).train()
    text = stream.getvalue()
    assert 'Epoch(train)' in text
    assert '\r' not in text
    assert '\x1b' not in text


def test_a_terminal_has_a_live_line_and_ends_without_it(make_runner, monkeypatch):
    stream = Terminal()
    handlers_to(monkeypatch, stream)
    monkeypatch.setattr('mae.engine.hooks.progress.LiveLine.seconds', 0.0)
    make_runner('run', HOOK).train()
    text = stream.getvalue()
    assert text.count('images/s') >= 8  # one a step, but for the first
    assert 'step 10' in text
    assert not [line for line in screen(text) if 'images/s' in line]


def test_a_notebook_is_found_by_its_kernel(make_runner, monkeypatch):
    drawn = []

    def display(content, display_id):
        drawn.append(content)
        return SimpleNamespace(update=drawn.append)

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, 'IPython', ipython)
    shown = SimpleNamespace(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, 'IPython.display', shown)
    stream = io.StringIO()
    handlers_to(monkeypatch, stream)
    make_runner('run', HOOK).train()
    assert 'Epoch(train)' not in stream.getvalue()
    assert 'step 10' in drawn[-1]
    assert '<svg' in drawn[-1]
