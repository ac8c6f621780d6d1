"""Two processes: the first decides, both get its choice or its error, and none waits for ever."""

import json
import multiprocessing
from datetime import timedelta

import pytest
import torch.distributed as dist

from mae.fault_tolerance.checkpoint import choose_checkpoint
from mae.utils.distributed import on_main, together
from tests.faults.calls import cut


def refuse(rank, only=None):
    if only is None or rank == only:
        raise ValueError(f'no good in {rank}')
    return rank


CASES = {
    'choice': lambda rank, folder: str(on_main(lambda: choose_checkpoint(folder, 5, print)).path),
    'nothing': lambda rank, folder: on_main(lambda: None),
    'error in the first': lambda rank, folder: on_main(lambda: refuse(rank)),
    'all well': lambda rank, folder: together(lambda: rank),
    'error in the second': lambda rank, folder: together(lambda: refuse(rank, only=1)),
}


def child(rank, folder, results):
    dist.init_process_group(
        'gloo',
        init_method=f'file://{results}/store',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    found = {}
    for name, call in CASES.items():
        try:
            found[name] = call(rank, folder)
        except ValueError as error:
            found[name] = f'{type(error).__name__}: {error}'
    (results / f'{rank}.json').write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder, results = tmp_path_factory.mktemp('work'), tmp_path_factory.mktemp('results')
    from tests.fault_tolerance.checkpoint.conftest import commit, content

    for step in (5, 10):
        commit(content(step), folder / f'iter_{step}.pth')
    cut(folder / 'iter_10.pth', 0.5)
    context = multiprocessing.get_context('fork')
    children = [context.Process(target=child, args=(rank, folder, results)) for rank in range(2)]
    for process in children:
        process.start()
    for process in children:
        process.join(100)
        assert process.exitcode == 0
    return [json.loads((results / f'{rank}.json').read_text()) for rank in range(2)]


def test_the_first_decides(found):
    assert found[0]['choice'] == found[1]['choice']
    assert found[0]['choice'].endswith('iter_5.pth')
    assert found[0]['nothing'] is found[1]['nothing'] is None


def test_its_error_is_everyones(found):
    assert found[0]['error in the first'] == 'ValueError: no good in 0'
    assert found[1]['error in the first'] == 'CheckpointError: no good in 0'


def test_an_error_in_one_stops_all(found):
    assert [each['all well'] for each in found] == [0, 1]
    assert found[0]['error in the second'] == 'CheckpointError: process 1: no good in 1'
    assert found[1]['error in the second'] == 'ValueError: no good in 1'
