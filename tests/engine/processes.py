"""Runs of several processes, forked: starting Python anew would take seconds."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import traceback

import torch
from mmengine.hooks import Hook

from mae.fault_tolerance.signals import Stopped, StopSignals
from mae.utils.digest import weights_sha256

_FORK = multiprocessing.get_context('fork')


class Interrupt(Hook):
    """Sends its own process a signal after a step."""

    def __init__(self, point, step):
        self.step = step
        setattr(self, point, self._kill)

    def _kill(self, runner, **others):
        if runner.iter == self.step:
            self.step = None
            os.kill(os.getpid(), signal.SIGUSR1)


def train_in_processes(make, world, folder, hook=None):
    """Train what `make()` builds in `world` processes, with `hook` in the last of them.

    Returns the exit code, the steps done, how many were bad, and the hash of the weights: the same
    in all.
    """
    port = _free_port()
    processes = [
        _FORK.Process(target=_child, args=(rank, world, port, folder, make, hook))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = {process.exitcode for process in processes}
    assert len(codes) == 1
    results = {(folder / f'rank{rank}').read_text() for rank in range(world)}
    assert len(results) == 1
    return codes.pop(), *json.loads(results.pop())


def losses(folder):
    """The loss of each step, by the newest log of a work dir; each step was done once."""
    log = sorted(folder.glob('*/vis_data/scalars.json'))[-1]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    pairs = [(line['step'], line['loss']) for line in lines if 'loss' in line]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _free_port():
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        return place.getsockname()[1]


def _child(rank, world, port, folder, make, hook):
    torch.set_num_threads(1)
    os.environ |= {
        **dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world)),
        **dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)),
    }
    code = 1
    try:
        runner = make()
        if hook is not None and rank == world - 1:
            runner.register_hook(hook)
        with StopSignals() as runner.signals:
            try:
                runner.train()
                code = 0
            except Stopped as stopped:
                code = stopped.code
        weights = runner.bare_model.state_dict()
        counts = [h.count.total for h in runner.hooks if hasattr(h, 'count')]
        found = [runner.iter, counts[0], weights_sha256(weights)]
        (folder / f'rank{rank}').write_text(json.dumps(found))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)
