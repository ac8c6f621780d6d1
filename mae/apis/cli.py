"""How command lines end: errors of the user in one line, bugs with a traceback."""

import atexit
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import mae
from mae.utils.launched import (
    LAUNCHER,
    die_with_parent,
    is_first_to_say,
    launched_rank,
    tell_launcher,
)

# Seconds that all processes but the first wait before they print an error: if all of them have it,
# the first prints it, and the launcher ends the others meanwhile. Longer in proportion where
# processes wait for a core, as the first does, too.
_PATIENCE, _MOST_PATIENCE = 3.0, 30.0
_STARTED = time.monotonic()

_OUT_OF_MEMORY = (
    ', most likely because memory ran out; lower num_workers, prefetch_factor or the batch, and '
    'resume'
)
_DEAD_WORKER = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*?)\.?\s*$', re.M)
_LOST_PEER = ('DistBackendError', 'DistNetworkError', 'DistStoreError')
_PEER_GONE = re.compile(r'gloo.*(closed by peer|reset by peer|[Tt]imed out)', re.S)


def run_command(main: Callable[[], object], *, stops: bool = False) -> None:
    """Call the `main` of a tool.

    What the user can fix (a wrong config, missing data, an unreadable checkpoint, a full disk)
    is printed as `error: ...` on stderr, once on a node, and the process ends with status 1; with
    MAE_TRACEBACK=1 the traceback comes first. Ctrl-C ends it with status 130, another signal that
    a run listens to with 143. Everything else is a bug and keeps its traceback.

    A process of `tools/launch.py` ends without Python's last garbage collection: that takes a
    second or more, and the others wait for it.

    Args:
        stops: SIGTERM and SIGUSR1 end the process with 143, until a run handles them itself.
    """
    for asked in (signal.SIGTERM, signal.SIGUSR1) if stops else ():
        signal.signal(asked, lambda *_: sys.exit(143))
    if LAUNCHER not in os.environ:
        _run(main)
        return
    code: object = 1
    try:
        _run(main)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    _end(code if isinstance(code, int) else int(code is not None))


def _run(main: Callable[[], object]) -> None:
    try:
        if LAUNCHER in os.environ:
            die_with_parent()
        main()
        _leave_distributed()
    except KeyboardInterrupt:
        _say('interrupted')
        sys.exit(130)
    except Exception as error:
        # A stop in the midst of a library that catches everything, as mmengine while it writes the
        # config, comes out as an error of that library.
        if isinstance(error.__context__, SystemExit):
            sys.exit(error.__context__.code)
        message = explain(error)
        if message is None:
            raise
        if wants_traceback():
            sys.excepthook(type(error), error, error.__traceback__)
        tell_launcher(message, final=isinstance(error, ValueError))
        _say(f'error: {message}')
        sys.exit(1)


def _end(code: int) -> None:
    """End the process in the order in which Python ends it, up to the garbage collection."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # the launcher ends all
        signal.signal(signum, signal.SIG_IGN)
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _leave_distributed() -> None:
    if 'torch' in sys.modules:  # a command that did without has nothing to leave
        from mae.utils.distributed import leave_distributed

        leave_distributed()


def wants_traceback() -> bool:
    """Whether a mistake of the user is to be shown with its traceback."""
    return os.environ.get('MAE_TRACEBACK', '0') != '0'


def explain(error: Exception) -> str | None:
    """One line that says what the user can fix, or None if the error is a bug."""
    text = str(error)
    if isinstance(error, ValueError):
        return _one_line(text) or type(error).__name__
    if isinstance(error, OSError | EOFError) and _is_from_dead_worker(error):
        why = _one_line(text) or type(error).__name__
        return f'a data worker was ended by the system ({why}){_OUT_OF_MEMORY}'
    if isinstance(error, OSError) and error.strerror:
        return f'{error.strerror}: {error.filename}' if error.filename else error.strerror
    if isinstance(error, OSError):
        return _one_line(text) or type(error).__name__
    if isinstance(error, RuntimeError) and (found := _DEAD_WORKER.search(text)):
        return f'data worker {found[1]} was ended by the system ({found[2]}){_OUT_OF_MEMORY}'
    if isinstance(error, RuntimeError) and 'connectFullMesh' in text:
        return (
            'the processes of the run cannot reach each other; set GLOO_SOCKET_IFNAME on each node '
            f'to the network interface that leads to the others ({_one_line(text)[:160]})'
        )
    if type(error).__name__ in _LOST_PEER or (
        type(error) is RuntimeError and _PEER_GONE.search(text)
    ):
        return f'lost another process of the run, which died or hangs ({_one_line(text)[:160]})'
    if isinstance(error, KeyError) and ' registry' in text and error.args:
        return _one_line(str(error.args[0]).partition(' Please check')[0])
    if isinstance(error, ImportError) and 'install' in text:  # an optional library
        return _one_line(text)
    if isinstance(error, TypeError) and _is_from_builder(error):
        return _one_line(text)
    if isinstance(error, AssertionError) and text and _is_from_another_library(error):
        return _one_line(text)
    if type(error).__name__ == 'OutOfMemoryError':
        return (
            f'{_one_line(text).partition(". ")[0]}; lower train_dataloader.batch_size, and '
            'accumulation keeps the global batch'
        )
    return None


def _is_from_builder(error: Exception) -> bool:
    """Whether a class refused the keywords of a config: one it needs is missing."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename.endswith('build_functions.py')


def _is_from_another_library(error: Exception) -> bool:
    """Whether a class of another library, being built for a config, refused what it was given."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    is_built = any(file.name == 'build_functions.py' for file in files)
    return is_built and not files[-1].is_relative_to(Path(mae.__file__).parent)


def _is_from_dead_worker(error: Exception) -> bool:
    """Whether a data worker died; an error that a worker raised has other frames."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == '_try_get_data' for frame in frames)


def _one_line(text: str) -> str:
    """The message without line breaks; of an error passed on from a data worker, the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and 'DataLoader worker' in lines[0]:
        return lines[-1].partition(': ')[2] or lines[-1]
    return ' '.join(lines)


def _say(line: str) -> None:
    rank = launched_rank()
    if rank:
        time.sleep(_patience(time.monotonic() - _STARTED, time.process_time()))
    told = f'{line} (rank {rank})' if rank else line
    sys.stdout.flush()
    # The launcher ends all processes once one has failed. Its signals wait until the line is
    # printed: a process that ended before would keep the others from printing it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    if is_first_to_say(line):
        print(told, file=sys.stderr, flush=True)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _patience(seconds: float, busy: float) -> float:
    """Seconds to wait for the first process.

    Args:
        seconds: since the start of this one.
        busy: seconds of them in which it had a core.
    """
    return min(_PATIENCE * max(1.0, seconds / max(busy, 1e-3)), _MOST_PATIENCE)
