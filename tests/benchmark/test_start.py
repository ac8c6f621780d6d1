"""Processor seconds of a command, to a line of its output or to its end."""

import sys

import pytest

from mae.benchmark import start
from mae.benchmark.start import seconds_of_command
from mae.config import load_config

_WORK = 'sum(i * i for i in range(10**6))'


def python(code):
    return [sys.executable, '-uc', code]


def test_to_a_line_and_to_the_end(tmp_path):
    folder = str(tmp_path)
    idle = seconds_of_command(python('import time; time.sleep(0.5); print("step 1")'), folder)
    work = f'[{_WORK} for _ in range(8)]'
    first = seconds_of_command(python(f'print("step 1"); {work}'), folder, until='step')
    whole = seconds_of_command(python(f'{work}; print("step 1")'), folder, until='step')
    assert 0 < idle < 0.5  # sleep costs nothing
    assert first < whole
    assert whole > 0.1


def test_a_command_that_ends_before(tmp_path):
    with pytest.raises(ValueError, match=r'ended without a step: ZeroDivisionError'):
        seconds_of_command(python('1 / 0'), str(tmp_path), until='step')


def test_our_config_can_be_loaded(tmp_path):
    configs = start._write(tmp_path)
    config = load_config(configs['mae'])
    assert config.train_dataloader.dataset.source.root == str(tmp_path / 'images')
    assert len(list((tmp_path / 'images').rglob('*.jpg'))) == 8
