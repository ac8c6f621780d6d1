"""How `tools/launch.py` ends: at once, and with the line of the process that failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from mae.fault_tolerance.launcher import _cause

LAUNCH = Path(__file__).resolve().parents[2] / 'tools' / 'launch.py'
PLACE = ['--nnodes=1', '--rdzv-backend=c10d', '--rdzv-endpoint=127.0.0.1:0', '--nproc-per-node=2']
# What the other process does meanwhile.
WAIT = 'time.sleep(600)'
FREEZE = 'os.kill(os.getpid(), signal.SIGSTOP)'


def launch(tmp_path, failure, other):
    tool = tmp_path / 'tool.py'
    tool.write_text(
        'import os, signal, sys, time\n'
        f'if os.environ["RANK"] == "1":\n    {other}\n'
        'assert os.environ["MAE_LAUNCHER_PID"] == str(os.getppid())\n'
        f'time.sleep(1)\n{failure}\n'
    )
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, LAUNCH, *PLACE, tool], env=os.environ, capture_output=True, text=True
    )
    return result, time.monotonic() - start


def test_the_last_line_is_that_of_the_process_and_a_frozen_one_is_not_waited_for(tmp_path):
    failure = 'sys.exit("error: no such file")'
    result, seconds = launch(tmp_path, failure, FREEZE)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == 'error: no such file'
    assert 'Traceback' not in result.stderr
    assert seconds < 25  # torchrun waits 30 for a frozen process


@pytest.mark.parametrize('exit_code', [-signal.SIGTERM, 143])
def test_a_process_that_was_stopped_for_another_is_no_cause(exit_code):
    failures = {
        2: SimpleNamespace(exitcode=exit_code, timestamp=4),
        0: SimpleNamespace(exitcode=1, timestamp=5),
    }
    assert _cause(SimpleNamespace(failures=failures)) == (0, failures[0])


def test_a_killed_process_is_told(tmp_path):
    failure = f'os.kill(os.getpid(), {int(signal.SIGKILL)})'
    result, _ = launch(tmp_path, failure, WAIT)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == 'rank 0 was stopped by SIGKILL'


def test_a_restart_that_cannot_help_is_not_made(tmp_path):
    """The first start is killed, the second fails by what the user has to mend."""
    tool = tmp_path / 'tool.py'
    tool.write_text(
        'import os, signal, sys\n'
        'from mae.utils.launched import tell_launcher\n'
        'if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
        'tell_launcher("no such file", final=True)\n'
        'sys.exit("error: no such file")\n'
    )
    place = [word.replace('c10d', 'mae') for word in PLACE[:-1]]
    place += ['--nproc-per-node=1', '--rdzv-id=7', '--max-restarts=5', '--rdzv-conf=is_host=1']
    result = subprocess.run(
        [sys.executable, LAUNCH, *place, tool], env=os.environ, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines() if 'restart' in line] == [
        'rank 0 was stopped by SIGKILL: restart 1 of 5'
    ]
    assert result.stderr.splitlines()[-1] == 'error: no such file'
