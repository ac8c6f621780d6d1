"""An empty argument, as an unset variable of the shell leaves one, is refused everywhere."""

import io
import sys
from argparse import ArgumentParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest

from mae.utils.command_line import eval_amp_of, parse, progress_bar

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def parser():
    built = ArgumentParser()
    built.add_argument('name', nargs='?')
    built.add_argument('--split', default='val')
    built.add_argument('--cfg-options', nargs='+')
    return built


@pytest.mark.parametrize(
    'argv', [[''], ['x', '--split', ''], ['--split='], ['--cfg-options', 'a=1', '']]
)
def test_refused(argv, capsys):
    with pytest.raises(SystemExit) as end:
        parse(parser(), argv)
    assert end.value.code == 2
    assert 'an argument is empty' in capsys.readouterr().err


def test_allowed():
    for argv in (['x', '--split', ''], ['x', '--split=']):
        assert parse(parser(), argv, may_be_empty=['--split']).split == ''
    assert parse(parser(), ['--cfg-options', 'a.b=']).cfg_options == ['a.b=']
    assert parse(parser(), ['x']).split == 'val'


@pytest.mark.parametrize(
    ('tool', 'argv'),
    [
        ('train', ['']),
        ('test', ['config', '']),
        ('data/verify', ['']),
        ('data/pack', ['', 'packed']),
        ('data/pack', ['photos', '']),
        ('converters/convert', ['', 'out', '--to', 'mae']),
        ('converters/publish_model', ['', 'out']),
        ('visualization/reconstruct', ['config', 'checkpoint', '', '--out', 'f.png']),
        ('protocol', ['']),
        ('predict', ['config', '']),
        ('predict', ['config', 'a.jpg', '--classes', '']),
        ('extract_features', ['config', '', '--out', 'f.npz']),
        ('download', ['']),
        ('converters/export_onnx', ['config', 'f.onnx', '--weights', '']),
    ],
)
def test_tools(tool, argv, capsys):
    with pytest.raises(SystemExit):
        load(tool).parse_args(argv)
    assert 'an argument is empty' in capsys.readouterr().err


def load(tool):
    spec = spec_from_file_location(f'empty_{Path(tool).name}', TOOLS / f'{tool}.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_tool_parses_this_way():
    for path in TOOLS.rglob('*.py'):
        assert 'parser.parse_args(' not in path.read_text(encoding='utf-8'), path


@pytest.mark.parametrize(
    ('tool', 'argv'),
    [('predict', ['model', 'a.png']), ('extract_features', ['model', 'a.png', '--out', 'a.npy'])],
)
def test_tools_that_predict_take_the_same_precisions(tool, argv):
    args = load(tool).parse_args
    found = [eval_amp_of(args([*argv, '--amp', amp])) for amp in ('bfloat16', 'float32')]
    assert [eval_amp_of(args(argv)), *found] == ['as_trained', 'bfloat16', None]


@pytest.mark.parametrize('in_notebook', [False, True])
def test_bars_are_drawn_on_terminals_alone(in_notebook, monkeypatch):
    """A kernel's stderr claims to be one."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, 'isatty', lambda: True, raising=False)
    monkeypatch.setattr(sys, 'stderr', stream)
    monkeypatch.setenv('TERM', 'xterm')
    for name in ('FORCE_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE'):
        monkeypatch.delenv(name, raising=False)
    shell = SimpleNamespace(kernel=object() if in_notebook else None)
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, 'IPython', ipython)
    assert [*progress_bar(range(3), 'images')] == [0, 1, 2]
    assert ('images' in stream.getvalue()) != in_notebook


def test_no_bar_in_a_file(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', stream)
    monkeypatch.delenv('FORCE_COLOR', raising=False)
    assert [*progress_bar(iter(range(3)), 'images', 3)] == [0, 1, 2]
    assert stream.getvalue() == ''
