"""How nodes meet: the same run, at an address that all reach, with a word while they wait."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

import pytest
from torch.distributed import DistNetworkError
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousParameters,
    RendezvousTimeoutError,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

from mae.fault_tolerance import rendezvous
from mae.utils.errors import ConfigError

ASKED = json.dumps({'mae': '1', 'tool': 'train.py', 'arguments': 'CONFIG --seed 1'})
OTHER = json.dumps({'mae': '1', 'tool': 'train.py', 'arguments': 'CONFIG --seed 2'})


@pytest.fixture
def port():
    with closing(socket.create_server(('127.0.0.1', 0))) as server:
        return server.getsockname()[1]


def params(port, host=1, **config):
    config = {'join_timeout': '5', 'last_call_timeout': '1', 'read_timeout': '5', **config}
    place = dict(endpoint=f'127.0.0.1:{port}', run_id='run7', min_nodes=1, max_nodes=2)
    return RendezvousParameters('mae', **place, local_addr='127.0.0.1', is_host=str(host), **config)


def test_another_run_of_the_same_name_is_refused(port):
    first = rendezvous.meet(params(port), ASKED)  # its store lives as long
    rendezvous.meet(params(port, host=0), ASKED)
    with pytest.raises(ConfigError) as raised:
        rendezvous.meet(params(port, host=0), OTHER)
    said = str(raised.value)
    assert 'RDZV_ID=run7' in said
    assert "arguments '--seed 1' there, '--seed 2' here" in said
    assert first.get_run_id() == 'run7'


def test_a_port_in_use():
    with closing(socket.create_server(('', 0))) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError, match=f'PORT={port} of this node is in use'):
            rendezvous.meet(params(port), ASKED)


def test_no_node_0(port, monkeypatch, capsys):
    monkeypatch.setattr(rendezvous, '_QUIET', 0.1)
    with pytest.raises(ConfigError, match=r'node 0 does not answer at .*, with NODE_RANK=0'):
        rendezvous.meet(params(port, host=0, read_timeout='1', join_timeout='0'), ASKED)
    assert capsys.readouterr().err == f'run run7: waits for node 0 at 127.0.0.1:{port}\n'


def test_node_0_may_come_later(port):
    late = params(port, host=0, read_timeout='1', join_timeout='30')
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(rendezvous.meet, late, ASKED)
        assert not wait([other], timeout=1.5).done  # longer than one try
        node_0 = rendezvous.meet(params(port), ASKED)
        assert other.result(timeout=30).get_run_id() == node_0.get_run_id()


def test_a_fixed_number_of_nodes_says_for_whom_one_waits(port, monkeypatch, capsys):
    meet = StaticTCPRendezvous.next_rendezvous
    monkeypatch.setattr(StaticTCPRendezvous, 'next_rendezvous', meet)  # restored afterwards
    monkeypatch.setattr(rendezvous, '_QUIET', 0.1)
    rendezvous.wait_aloud()
    with pytest.raises(DistNetworkError):
        StaticTCPRendezvous('127.0.0.1', port, 1, 2, 'none', timeout=1).next_rendezvous()
    said = capsys.readouterr().err
    assert said == f'node 1 waits at 127.0.0.1:{port} for the others: NNODES=2\n'


def test_a_run_that_another_node_has_ended(port, monkeypatch, capsys):
    node = rendezvous.meet(params(port), ASKED)
    met = node.next_rendezvous()
    assert (met.rank, met.world_size) == (0, 1)
    assert capsys.readouterr().err.endswith(
        'run run7: 1 node has met; process 0, which logs, is on this one\n'
    )
    assert node.num_nodes_waiting() == 0
    node.set_closed()
    assert node.num_nodes_waiting() == 0  # its processes may end by themselves
    monkeypatch.setattr(rendezvous, '_CLOSED', 0)
    with pytest.raises(RendezvousClosedError):
        node.num_nodes_waiting()
    late = rendezvous.meet(params(port, host=0), ASKED)
    with pytest.raises(RendezvousClosedError):
        late.next_rendezvous()
    node._stop_heartbeats()


def test_a_node_without_a_place_when_node_0_goes(port, monkeypatch):
    full = RendezvousParameters(
        *('mae', f'127.0.0.1:{port}', 'run7', 1, 1, '127.0.0.1'), is_host='1', join_timeout='5'
    )
    node = rendezvous.meet(full, ASKED)
    node.next_rendezvous()
    spare = rendezvous.meet(full, ASKED)
    spare._state_holder.sync()

    def lost(self):
        raise RendezvousConnectionError('node 0')

    monkeypatch.setattr(rendezvous.DynamicRendezvousHandler, 'next_rendezvous', lost)
    with pytest.raises(rendezvous.Spare, match='is over, or its node 0 is lost'):
        spare.next_rendezvous()
    with pytest.raises(RendezvousConnectionError):
        node.next_rendezvous()  # it has a place
    node._stop_heartbeats()


def test_a_node_says_why_it_waits(port, monkeypatch, capsys):
    monkeypatch.setattr(rendezvous, '_QUIET', 0.8)
    alone = RendezvousParameters(
        *('mae', f'127.0.0.1:{port}', 'run7', 2, 3, '127.0.0.1'), is_host='1', join_timeout='2'
    )
    with pytest.raises(RendezvousTimeoutError):
        rendezvous.meet(alone, ASKED).next_rendezvous()
    said = capsys.readouterr().err
    assert re.fullmatch(r'run run7: [01] of at least 2 nodes are here\n', said)


@pytest.mark.parametrize(
    ('host', 'address', 'expected'),
    [
        ('node0', '127.0.1.1', 'MASTER_ADDR=node0 is 127.0.1.1 here'),
        ('no-such-host.invalid', None, 'MASTER_ADDR=no-such-host.invalid is unknown here'),
    ],
)
def test_an_address_that_others_cannot_reach(host, address, expected, monkeypatch):
    monkeypatch.setattr(rendezvous, 'address_towards', lambda *place: address)
    with pytest.raises(ConfigError, match=expected):
        rendezvous.own_address(f'{host}:29500')


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_two_launchers_on_one_machine(host):
    assert rendezvous.own_address(f'{host}:29500') == '127.0.0.1'


def test_a_config_with_another_text_is_another_run(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('a = 1')
    first = rendezvous.run_facts('tools/train.py', [str(config), '--seed', '1'])
    config.write_text('a = 2')
    second = rendezvous.run_facts('elsewhere/train.py', [str(config), '--seed', '1'])
    there, here = rendezvous._difference(json.loads(first), json.loads(second))
    assert there.startswith(f"config '{config} (")
    assert here.startswith(f"'{config} (")


@pytest.mark.parametrize(
    ('one', 'two', 'expected'),
    [
        ('C --seed 1 --amp', 'C --seed 12 --amp', ("arguments '--seed 1'", "'--seed 12'")),
        ('C --amp', 'C --seed 1 --amp', ("arguments ''", "'--seed 1'")),
        ('C', 'C --amp', ("arguments ''", "'--amp'")),
        ('C a=1 a=1', 'C a=1', ("arguments 'a=1'", "''")),
    ],
)
def test_which_arguments_differ(one, two, expected):
    facts = (json.loads(rendezvous.run_facts('train.py', words.split())) for words in (one, two))
    assert rendezvous._difference(*facts) == expected


def test_each_node_has_its_own_paths():
    one = ['C', '--work-dir', 'a', '--load-from=b', '--resume', 'c', '--seed', '1']
    two = ['C', '--work-dir', 'd', '--load-from=e', '--resume', 'f', '--seed', '1']
    assert rendezvous.run_facts('train.py', one) == rendezvous.run_facts('train.py', two)
    assert rendezvous.run_facts('train.py', one) != rendezvous.run_facts(
        'train.py', [*two[:-1], '2']
    )


def test_a_node_with_other_code(monkeypatch):
    there = json.loads(rendezvous.run_facts('train.py', ['C']))
    monkeypatch.setattr(rendezvous, 'code_digest', lambda: 'aaaa')
    here = json.loads(rendezvous.run_facts('train.py', ['C']))
    said = rendezvous._difference(there, here)
    assert said == (f'mae code {there["mae code"]!r}', "'aaaa'")
