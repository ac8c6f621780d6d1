"""Signals that no step boundary waits for."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from mae.fault_tolerance.signals import Stopped, StopSignals

LIBC = ctypes.CDLL(None)
FORK = multiprocessing.get_context('fork')


def wait_in_a_library(begun, deferred, ready):
    """Inside C, where Python's handlers do not run: a mutex is locked for the second time."""
    with StopSignals(on_quit=lambda signum: ready.send(signum)) as signals:
        if deferred:
            signals.defer()
        mutex = ctypes.create_string_buffer(128)
        LIBC.pthread_mutex_lock(mutex)
        entering = threading.Event()
        threading.Thread(target=lambda: entering.wait() and begun.set(), daemon=True).start()
        sys.setswitchinterval(1000)  # the other thread runs when this one is inside
        entering.set()
        LIBC.pthread_mutex_lock(mutex)


@pytest.fixture
def start():
    processes = []

    def run(deferred):
        begun, (ours, theirs) = FORK.Event(), FORK.Pipe()
        process = FORK.Process(target=wait_in_a_library, args=(begun, deferred, theirs))
        process.start()
        processes.append(process)
        begun.wait()
        return process, ours

    yield run
    for process in processes:
        process.kill()


@pytest.mark.parametrize(('signum', 'code'), [(signal.SIGINT, 130), (signal.SIGUSR1, 143)])
def test_before_the_run_has_begun_the_first_one_ends_it(start, signum, code):
    process, told = start(deferred=False)
    os.kill(process.pid, signum)
    process.join(20)
    assert process.exitcode == code
    assert told.recv() == signum


def test_a_second_one_quits_at_once(start):
    process, told = start(deferred=True)
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)  # the same, handed on by a launcher
    assert not told.poll(1.5)
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130
    assert told.recv() == signal.SIGINT


def test_first_one_raises_until_deferred_and_while_waiting():
    with StopSignals() as signals, pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), signal.SIGUSR1)
    assert (stopped.value.code, stopped.value.signum) == (143, signal.SIGUSR1)
    with StopSignals() as signals:
        signals.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.signum == signal.SIGTERM
        with pytest.raises(Stopped), signals.waiting():
            time.sleep(60)


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        terminate = signal.getsignal(signal.SIGTERM)
        with StopSignals() as signals:
            assert signal.getsignal(signal.SIGTERM) != terminate
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.signum == 0
        assert signal.getsignal(signal.SIGTERM) == terminate
    finally:
        signal.signal(signal.SIGINT, before)
