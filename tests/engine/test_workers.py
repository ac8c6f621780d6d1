"""Data workers end with the run, however it ends."""

import multiprocessing
import subprocess

import pytest
from torch.utils.data import DataLoader

from mae.engine.workers import prepare_worker

FORK = multiprocessing.get_context('fork')
OPTIONS = dict(
    persistent_workers=True, multiprocessing_context='fork', worker_init_fn=prepare_worker
)
kept = []


@pytest.fixture
def worker():
    """A worker that a loader keeps between epochs, waiting for more to do."""
    loader = DataLoader(range(8), num_workers=1, **OPTIONS)
    before = set(multiprocessing.active_children())
    assert len(list(loader)) == 8
    (process,) = set(multiprocessing.active_children()) - before
    yield process
    process.kill()


def leave_with_a_worker():
    loader = DataLoader(range(8), num_workers=2, **OPTIONS)
    assert len(list(loader)) == 8
    kept.append(loader)  # as a runner is, in its circle of references


def test_a_process_that_ends_does_not_wait_for_the_workers_it_kept():
    process = FORK.Process(target=leave_with_a_worker)
    process.start()
    process.join(20)
    code = process.exitcode
    process.kill()
    assert code == 0


def test_the_main_process_needs_to_ask_once(worker):
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0


def test_others_need_to_ask_twice(worker):
    command = ['sh', '-c', f'kill -TERM {worker.pid}']
    subprocess.run(command, check=True)
    worker.join(0.5)
    assert worker.is_alive()
    subprocess.run(command, check=True)
    worker.join(20)
    assert worker.exitcode == 0
