"""torchrun, as `tools/launch.py` calls it: errors in one line, and elastic runs that meet safely.

torchrun's own warnings, its table of failures and the traceback of the launcher would follow the
line of a failed process. Each process knows the launcher's process id, and on Linux ends with it.

In an elastic run the agent of each node starts its processes anew after a failure, and whenever a
node comes or is lost; `mae/engine/start.py` says from where they go on.
"""

import hashlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
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
    RendezvousGracefulExitError,
    RendezvousParameters,
    RendezvousTimeoutError,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.api import RendezvousInfo
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import (
    C10dRendezvousBackend,
    create_backend,
)
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import (
    DynamicRendezvousHandler,
    RendezvousTimeout,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous
from torch.distributed.run import main, parse_args

from mae.utils.errors import ConfigError
from mae.utils.launched import LAUNCHER
from mae.utils.network import address_towards
from mae.utils.versions import code_digest, versions

# Name of our rendezvous among torchrun's: c10d's, with checks.
BACKEND = 'mae'
_SHUTDOWN_TIMEOUT = 30  # seconds, torchrun's default
_QUIET = 10.0  # seconds that a node waits for others without a word
_CLOSED = 30.0  # seconds that processes have to end by themselves once another node has failed
# Arguments whose values may differ between nodes, as in `mae/fault_tolerance/agreement.py`.
_PATHS = ('--work-dir', '--load-from', '--resume')
_STOPPED = (130, 143)  # exit status after Ctrl-C, and after another signal


class Spare(Exception):  # noqa: N818  # no error
    """The run is over, and this node has waited for a place in it that never became free."""


def launch(argv: Sequence[str]) -> int:
    """Run torchrun with a command line; returns the exit status."""
    os.environ[LAUNCHER] = str(os.getpid())
    logging.disable(logging.CRITICAL)  # torchrun's
    _do_not_wait_for_frozen()
    _do_not_wait_in_silence()
    launcher_api.LocalElasticAgent = Agent  # type: ignore[attr-defined]
    args = parse_args(argv)
    place = f'{args.rdzv_endpoint or f"{args.master_addr}:{args.master_port}"}'
    try:
        if args.rdzv_backend == BACKEND:
            asked = _facts(args.training_script, args.training_script_args)
            rendezvous_handler_registry.register(BACKEND, lambda params: _meet(params, asked))
            if args.local_addr is None and (address := _own_address(args.rdzv_endpoint)):
                argv = ['--local-addr', address, *argv]
        elif args.nnodes != '1':
            _own_address(place)
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
        return _port_in_use(place)
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
    failures = error.failures.items()
    return min(failures, key=lambda item: (item[1].exitcode in _STOPPED, item[1].timestamp))


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


def _do_not_wait_in_silence() -> None:
    """In a run of a fixed number of nodes say for whom a node waits; an elastic run has its own."""
    meet = StaticTCPRendezvous.next_rendezvous

    def meet_aloud(nodes: StaticTCPRendezvous) -> RendezvousInfo:
        place = f'{nodes.master_addr}:{nodes.master_port}'
        why = f'node {nodes.rank} waits at {place} for the others: NNODES={nodes.world_size}'
        with _saying(lambda: why):
            return meet(nodes)

    StaticTCPRendezvous.next_rendezvous = meet_aloud  # type: ignore[assignment]


def _is_frozen(pid: int) -> bool:
    with suppress(OSError):  # it has ended, or this is no Linux
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'T'
    return False


# --- how the nodes of an elastic run meet -------------------------------------------------------


class Rendezvous(DynamicRendezvousHandler):
    """c10d's, which says when it waits, and ends when another node has ended the run."""

    _closed_since: float | None = None

    def get_backend(self) -> str:
        """The name under which torchrun asks for it."""
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        try:
            with _saying(self._why_it_waits):
                met = super().next_rendezvous()
        except RendezvousGracefulExitError:  # torch's agent has no answer to it
            raise Spare('is over') from None
        except RendezvousConnectionError:
            state = self._state_holder.state
            if state.complete and self._this_node not in state.participants:
                raise Spare('is over, or its node 0 is lost') from None
            raise
        if self.settings.max_nodes > 1:
            # Their ranks, which torch deals out, are not the NODE_RANK of the user.
            logs = 'is on this one' if met.rank == 0 else 'is on another'
            count = '1 node has' if met.world_size == 1 else f'{met.world_size} nodes have'
            _say(f'run {self.get_run_id()}: {count} met; process 0, which logs, {logs}')
        return met

    def num_nodes_waiting(self) -> int:
        """Number of nodes to take in, as the agent asks many times a second."""
        waiting: int = super().num_nodes_waiting()
        if not self.is_closed():
            self._closed_since = None
        elif self._closed_since is None:
            self._closed_since = time.monotonic()
        elif time.monotonic() - self._closed_since > _CLOSED:
            raise RendezvousClosedError
        return waiting

    def _why_it_waits(self) -> str:
        state, limits = self._state_holder.state, self.settings
        here = len(state.participants)
        if state.complete and here == limits.max_nodes:
            why = f'its {here} places are taken: this node waits until one is free'
        elif here < limits.min_nodes:
            why = f'{here} of at least {limits.min_nodes} nodes are here'
        else:
            why = f'{here} of at most {limits.max_nodes} nodes are here: waiting for others'
        return f'run {self.get_run_id()}: {why}'


@contextmanager
def _saying(why: Callable[[], str]) -> Iterator[None]:
    """Say, unless the block is done before, why it takes long."""
    timer = threading.Timer(_QUIET, lambda: _say(why()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _meet(params: RendezvousParameters, asked: str) -> Rendezvous:
    """Reach node 0, or be it, and make sure that its run is the one that is asked for."""
    backend, store = _reach(params)
    found = store.compare_set(f'mae/{params.run_id}', '', asked).decode()
    if found != asked:
        there, here = _first_difference(json.loads(found), json.loads(asked))
        raise ConfigError(
            f'RDZV_ID={params.run_id} at {params.endpoint} is another run: {there} there, {here} '
            'here; start the same line and code on each node, and another run with its own RDZV_ID '
            'and PORT'
        )
    limits = {
        name: timedelta(seconds=seconds)
        for name in ('join', 'last_call')
        if (seconds := params.get_as_int(f'{name}_timeout')) is not None
    }
    met: Rendezvous = Rendezvous.from_backend(
        params.run_id,
        store,
        backend,
        params.min_nodes,
        params.max_nodes,
        local_addr=params.local_addr,
        timeout=RendezvousTimeout(**limits),
    )
    return met


def _reach(params: RendezvousParameters) -> tuple[C10dRendezvousBackend, Any]:
    """The store of node 0, which may be started later than this node."""
    until = time.monotonic() + (params.get_as_int('join_timeout') or 0)
    with _saying(lambda: f'run {params.run_id}: waits for node 0 at {params.endpoint}'):
        while True:
            try:
                return create_backend(params)
            except RendezvousConnectionError as error:
                if params.get_as_bool('is_host') or time.monotonic() > until:
                    raise ConfigError(_why_no_store(params, error)) from error


def _why_no_store(params: RendezvousParameters, error: Exception) -> str:
    why = ' '.join(str(error.__cause__ or error).split())
    if not params.get_as_bool('is_host'):
        return (
            f'node 0 does not answer at {params.endpoint}: is it started, with NODE_RANK=0 and the '
            'same MASTER_ADDR and PORT?'
        )
    if 'EADDRINUSE' in why:
        return _port_in_use(params.endpoint)
    return f'node 0 cannot open {params.endpoint}: is MASTER_ADDR its address? ({why[:120]})'


def _port_in_use(place: str) -> str:
    port = place.rpartition(':')[2]
    return f'PORT={port} of this node is in use, perhaps by another run: give another PORT'


def _own_address(endpoint: str) -> str | None:
    """Address of this node that the others reach.

    Raises:
        ConfigError: the name of node 0 is unknown, or stands for this machine alone.
    """
    host, _, port = endpoint.rpartition(':')
    address = address_towards(host, int(port))
    if address is None:
        try:
            socket.getaddrinfo(host, int(port))
        except OSError as error:
            raise ConfigError(f'MASTER_ADDR={host} is unknown here: {error.strerror}') from None
    elif address.startswith('127.') and host != 'localhost' and not host.startswith('127.'):
        raise ConfigError(
            f'MASTER_ADDR={host} is {address} here, which no other node can reach: give the address'
        )
    return address


def _facts(tool: str, arguments: Sequence[str]) -> str:
    """What nodes of one run have in common, as far as it is known before they meet."""
    words = ' '.join(_without_own_paths(arguments))
    facts = {**versions(), 'mae code': code_digest(), 'tool': Path(tool).name, 'arguments': words}
    config = Path(arguments[0]) if arguments else Path()
    if config.is_file():
        facts['config'] = f'{config} ({hashlib.sha256(config.read_bytes()).hexdigest()[:12]})'
    return json.dumps(facts)


def _without_own_paths(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments without the values that may differ: each node has its own way to a file."""
    last = ''
    for word in arguments:
        flag, equals, _ = word.partition('=')
        if last not in _PATHS or word.startswith('-'):
            yield flag if equals and flag in _PATHS else word
        last = word


def _first_difference(there: dict[str, str], here: dict[str, str]) -> tuple[str, str]:
    name = next(name for name in {**there, **here} if there.get(name) != here.get(name))
    texts = there.get(name, ''), here.get(name, '')
    first, second = _where_they_differ(*texts) if name == 'arguments' else texts
    return f'{name} {first!r}', repr(second)


def _where_they_differ(first: str, second: str) -> tuple[str, str]:
    """Two command lines without the words that they begin and end with alike."""
    one, two = first.split(), second.split()
    shorter = min(len(one), len(two))
    start = next((n for n in range(shorter) if one[n] != two[n]), shorter)
    end = next((n for n in range(shorter - start) if one[-1 - n] != two[-1 - n]), shorter - start)
    if start and one[start - 1].startswith('-'):  # the value of an option
        start -= 1
    return ' '.join(one[start : len(one) - end]), ' '.join(two[start : len(two) - end])
