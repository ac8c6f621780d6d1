"""What each kind of failure to meet is called, in one line; which failures a restart may mend."""

import re

import pytest
from torch.distributed import DistNetworkError, DistStoreError
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousStateError,
    RendezvousTimeoutError,
)

from mae.fault_tolerance import launcher
from mae.utils.errors import ConfigError
from mae.utils.launched import tell_launcher


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (ConfigError('as it is'), 'as it is'),
        (DistNetworkError('EADDRINUSE, 98'), 'PORT=1 of this node is in use'),
        (RendezvousClosedError(), 'run run7 at node0:1 was ended by another node'),
        (RendezvousTimeoutError(), 'too few nodes came to node0:1: NNODES=2:4'),
        (RendezvousConnectionError('lost'), 'node 0 does not answer at node0:1'),
        (DistNetworkError('lost'), 'node 0 does not answer at node0:1'),
        (DistStoreError('wait\ntimeout'), 'the nodes did not meet at node0:1.*wait timeout'),
        (RendezvousStateError('bad'), 'the nodes did not meet at node0:1.*bad'),
    ],
)
def test_each_failure_is_one_line(error, expected):
    said = launcher._explain(error, 'node0:1', '2:4', 'run7')
    assert '\n' not in said
    assert re.search(expected, said)


@pytest.mark.parametrize('final', [True, False])
def test_what_a_restart_cannot_mend(final, tmp_path, monkeypatch):
    file = tmp_path / 'error.json'
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(file))
    tell_launcher('no such config', final=final)
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(file))
    assert failure.message == 'no such config'
    assert launcher._is_final(failure) is final
    assert not launcher._is_final(ProcessFailure(0, 1, -9, str(file)))
    assert not launcher._is_final(ProcessFailure(0, 1, 1, str(tmp_path / 'none')))
    assert launcher._is_final(ProcessFailure(0, 1, 2, str(tmp_path / 'none')))  # argparse's status
