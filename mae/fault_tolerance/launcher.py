"""torchrun, as `tools/launch.py` calls it: errors in one line, and elastic runs.

torchrun's own warnings, its table of failures and the traceback of the launcher would follow the
line of a failed process. Each process knows the launcher's process id, and on Linux ends with it.

In an elastic run the agent of each node starts its processes anew after a failure, and whenever a
node comes or is lost. `rendezvous.py` is how the nodes meet; `mae/engine/start.py` says from where
the processes go on.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.distributed.launcher.api as launcher_api
from torch.distributed import DistError, DistNetworkError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import PContext, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
    rendezvous_handler_registry,
)
from torch.distributed.run import main, parse_args

from mae.fault_tolerance.rendezvous import (
    BACKEND,
    Spare,
    meet,
    own_address,
    port_in_use,
    run_facts,
    wait_aloud,
)
from mae.utils.errors import ConfigError
from mae.utils.launched import LAUNCHER

_SHUTDOWN_TIMEOUT = 30  # seconds, torchrun's default
_STOPPED = (130, 143)  # exit status after Ctrl-C, and after another signal


def launch(argv: Sequence[str]) -> int:
    """Run torchrun with a command line; returns the exit status."""
    os.environ[LAUNCHER] = str(os.getpid())
    logging.disable(logging.CRITICAL)  # torchrun's
    _do_not_wait_for_frozen()
    wait_aloud()
    launcher_api.LocalElasticAgent = Agent  # type: ignore[attr-defined]
    args = parse_args(argv)
    place = args.rdzv_endpoint or f'{args.master_addr}:{args.master_port}'
    try:
        if args.rdzv_backend == BACKEND:
            asked = run_facts(args.training_script, args.training_script_args)
            rendezvous_handler_registry.register(BACKEND, lambda params: meet(params, asked))
            if args.local_addr is None and (address := own_address(args.rdzv_endpoint)):
                argv = ['--local-addr', address, *argv]
        elif args.nnodes != '1':
            own_address(place)
        main(argv)
    except SignalException as stopped:
        return 143 if stopped.sigval == signal.SIGUSR1 else 128 + stopped.sigval
    except ChildFailedError as error:
        rank, failure = _cause(error)
        if failure.exitcode < 0:
            print(f'rank {rank} was stopped by {failure.signal_name()}', file=sys.stderr)
        return max(failure.exitcode, 1)
    except Spare as why:
        print(f'run {args.rdzv_id} {why}: this node had no place in it', file=sys.stderr)
    except (ConfigError, RendezvousError, DistError) as error:
        print(f'error: {_explain(error, place, args.nnodes, args.rdzv_id)}', file=sys.stderr)
        return 1
    return 0


def _explain(error: Exception, place: str, nodes: str, run_id: str) -> str:
    """What a failure of the nodes to meet means, in one line."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, RendezvousClosedError):
        return (
            f'run {run_id} at {place} was ended by another node, which says why; start all nodes '
            'again to go on'
        )
    if isinstance(error, RendezvousTimeoutError):
        return (
            f'too few nodes came to {place}: NNODES={nodes}; start the same line on each, with its '
            'own NODE_RANK'
        )
    if 'EADDRINUSE' in str(error):
        return port_in_use(place)
    if isinstance(error, RendezvousConnectionError | DistNetworkError):
        return (
            f'node 0 does not answer at {place}: it has ended or cannot be reached; start all '
            'nodes again to go on'
        )
    return (
        f'the nodes did not meet at {place}: NNODES={nodes}, and one has not come or was lost '
        f'meanwhile ({" ".join(str(error).split())[:120]})'
    )


class Agent(LocalElasticAgent):
    """torch's agent of a node, which restarts only what a restart may mend.

    A process leaves in its error file whether its failure is one that the user has to mend. What
    is stopped, as when a node joins, has TORCH_ELASTIC_SHUTDOWN_TIMEOUT seconds for its last save.
    """

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if result.is_failed() and self._remaining_restarts > 0:
            if any(map(_is_final, result.failures.values())):
                self._remaining_restarts = 0
            else:
                rank, failure = _cause(ChildFailedError('', result.failures))
                limit = worker_group.spec.max_restarts
                print(
                    f'rank {rank} {_how_it_ended(failure)}: restart '
                    f'{limit - self._remaining_restarts + 1} of {limit}',
                    file=sys.stderr,
                    flush=True,
                )
        return result

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        limit = os.environ.get('TORCH_ELASTIC_SHUTDOWN_TIMEOUT', _SHUTDOWN_TIMEOUT)
        self._shutdown(timeout=int(limit))


def _cause(error: ChildFailedError) -> tuple[int, ProcessFailure]:
    """The first failure; torchrun then stops the others, in the same second perhaps."""
    stopped = (*_STOPPED, -signal.SIGTERM)
    failures = error.failures.items()
    return min(failures, key=lambda item: (item[1].exitcode in stopped, item[1].timestamp))


def _how_it_ended(failure: ProcessFailure) -> str:
    if failure.exitcode < 0:
        return f'was stopped by {failure.signal_name()}'
    if failure.exitcode in _STOPPED:  # as when another node was
        return 'was stopped and has saved the run'
    return f'failed with status {failure.exitcode}'


def _is_final(failure: ProcessFailure) -> bool:
    """Whether the user has to mend it: the command line, which ends with status 2, or more."""
    told = failure.exitcode > 0 and (failure.error_file_data or {}).get('final')
    return failure.exitcode == 2 or bool(told)


def _do_not_wait_for_frozen() -> None:
    """When the processes are to end, kill those that SIGSTOP holds, which no SIGTERM would reach.

    torchrun waits 30 s for them.
    """
    close = PContext.close

    def close_now(context: PContext, *args: Any, **kwargs: Any) -> None:
        for pid in context.pids().values():
            if _is_frozen(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        close(context, *args, **kwargs)

    PContext.close = close_now  # type: ignore[assignment]


def _is_frozen(pid: int) -> bool:
    with suppress(OSError):  # it has ended, or this is no Linux
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'T'
    return False
