"""Data workers outlive the signals of a batch system, and never the process that has them."""

import os
import signal
import subprocess
import sys
import time

import pytest
from torch.utils.data import DataLoader

from mae.utils.data_workers import prepare_worker

LEAVE = """
from torch.utils.data import DataLoader
from mae.utils.data_workers import prepare_worker

loader = DataLoader(
    range(8), num_workers=2, persistent_workers=True, worker_init_fn=prepare_worker
)
for batch in loader:
    pass
loader.itself = loader  # as a run and its parts, it goes with the process only
print('at the end', flush=True)
"""


@pytest.fixture
def workers():
    loader = DataLoader(
        range(8), num_workers=2, persistent_workers=True, worker_init_fn=prepare_worker
    )
    assert len(list(loader)) == 8
    yield loader._iterator._workers
    loader._iterator._shutdown_workers()


def test_a_process_ends_whose_workers_wait_for_work():
    result = subprocess.run(
        [sys.executable, '-c', LEAVE], timeout=60, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, 'at the end\n', '')


def test_signals_of_others_are_not_for_them(workers):
    pids = ' '.join(str(worker.pid) for worker in workers)
    for name in ('TERM', 'TERM', 'INT', 'USR1'):
        subprocess.run(['sh', '-c', f'kill -{name} {pids}'], check=True)
        time.sleep(0.1)
    assert all(worker.is_alive() for worker in workers)


def test_one_from_their_parent_ends_them(workers):
    os.kill(workers[0].pid, signal.SIGTERM)
    workers[0].join(5)
    assert workers[0].exitcode == 0
