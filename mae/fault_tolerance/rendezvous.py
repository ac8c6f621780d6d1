"""How the nodes of an elastic run meet: torch's c10d rendezvous, with checks and a word."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousGracefulExitError,
    RendezvousParameters,
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

from mae.utils.digest import file_digest
from mae.utils.errors import ConfigError
from mae.utils.network import address_towards
from mae.utils.text import counted, first_difference
from mae.utils.versions import code_digest, versions

# Name of this rendezvous among torchrun's.
BACKEND = 'mae'
_QUIET = 10.0  # seconds that a node waits for others without a word
_CLOSED = 30.0  # seconds that processes have to end by themselves once another node has failed
# Arguments whose values may differ between nodes, as in `mae/fault_tolerance/agreement.py`.
_PATHS = ('--work-dir', '--load-from', '--resume')


class Spare(Exception):  # noqa: N818  # no error
    """The run is over, and this node has waited for a place in it that never became free."""


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
            count = counted(met.world_size, 'node has', 'nodes have')
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


def wait_aloud() -> None:
    """In a run of a fixed number of nodes say for whom a node waits; an elastic run has its own."""
    meet_in_silence = StaticTCPRendezvous.next_rendezvous

    def meet_aloud(nodes: StaticTCPRendezvous) -> RendezvousInfo:
        place = f'{nodes.master_addr}:{nodes.master_port}'
        why = f'node {nodes.rank} waits at {place} for the others: NNODES={nodes.world_size}'
        with _saying(lambda: why):
            return meet_in_silence(nodes)

    StaticTCPRendezvous.next_rendezvous = meet_aloud  # type: ignore[assignment, method-assign]


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


def meet(params: RendezvousParameters, asked: str) -> Rendezvous:
    """Reach node 0, or be it, and make sure that its run is the one that is asked for.

    Args:
        params: of the command line.
        asked: `run_facts` of this node.

    Raises:
        ConfigError: node 0 does not answer, cannot open its port, or has another run of that name.
    """
    backend, store = _reach(params)
    found = store.compare_set(f'mae/{params.run_id}', '', asked).decode()
    if found != asked:
        there, here = _difference(json.loads(found), json.loads(asked))
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
        return port_in_use(params.endpoint)
    return f'node 0 cannot open {params.endpoint}: is MASTER_ADDR its address? ({why[:120]})'


def port_in_use(place: str) -> str:
    """What to tell the user whose HOST:PORT somebody else has opened."""
    port = place.rpartition(':')[2]
    return f'PORT={port} of this node is in use, perhaps by another run: give another PORT'


def own_address(endpoint: str) -> str | None:
    """Address of this node that the others reach; None leaves it to torch.

    Args:
        endpoint: HOST:PORT of node 0.

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


def run_facts(tool: str, arguments: Sequence[str]) -> str:
    """What nodes of one run have in common, as far as it is known before they meet, as JSON."""
    words = ' '.join(_without_own_paths(arguments))
    facts = {**versions(), 'mae code': code_digest(), 'tool': Path(tool).name, 'arguments': words}
    config = Path(arguments[0]) if arguments else Path()
    if config.is_file():
        facts['config'] = f'{config} ({file_digest(config)[:12]})'
    return json.dumps(facts)


def _without_own_paths(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments without the values that may differ: each node has its own way to a file."""
    last = ''
    for word in arguments:
        flag, equals, _ = word.partition('=')
        if last not in _PATHS or word.startswith('-'):
            yield flag if equals and flag in _PATHS else word
        last = word


def _difference(there: dict[str, str], here: dict[str, str]) -> tuple[str, str]:
    name = first_difference(there, here)
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
