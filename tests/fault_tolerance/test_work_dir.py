"""What stays of a run that fails."""

import multiprocessing
import re
from datetime import timedelta

import pytest
import torch.distributed as dist

from mae.fault_tolerance.work_dir import not_shared, tidy_start


def fail(work_dir, files):
    for name, text in {'config.py': 'x', 'now/now.log': 'start', **files}.items():
        path = work_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    raise ValueError('bad data')


def run_that_fails(work_dir, **files):
    """Names of the files that stay."""
    with pytest.raises(ValueError, match='bad data'), tidy_start(work_dir):
        fail(work_dir, files)
    stays = (path for path in work_dir.rglob('*') if path.is_file())
    return sorted(str(path.relative_to(work_dir)) for path in stays)


def test_before_its_first_result_nothing_stays(tmp_path):
    assert run_that_fails(tmp_path / 'run', **{'now/vis_data/scalars.json': ''}) == []
    assert not (tmp_path / 'run').exists()


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    (tmp_path / 'earlier').mkdir()
    assert run_that_fails(tmp_path) == ['notes.txt']
    assert (tmp_path / 'earlier').is_dir()


@pytest.mark.parametrize(('step', 'stays'), [(0, False), (1, True)])
def test_after_a_step_all_stays(tmp_path, step, stays):
    found = run_that_fails(tmp_path / 'run', **{'run.json': f'{{"step": {step}}}'})
    assert found == (['config.py', 'now/now.log', 'run.json'] if stays else [])


@pytest.mark.parametrize(
    'result', ['now/vis_data/scalars.json', 'iter_3.pth', 'iter_3.dcp/.metadata']
)
def test_after_a_result_all_stays(tmp_path, result):
    assert run_that_fails(tmp_path, **{result: '1'}) == sorted(['config.py', 'now/now.log', result])


def test_failure_before_the_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match='x'), tidy_start(tmp_path / 'run'):
        raise ValueError('x')
    assert list(tmp_path.iterdir()) == []


def test_success_touches_nothing(tmp_path):
    with tidy_start(tmp_path / 'run'):
        (tmp_path / 'run').mkdir()
    assert (tmp_path / 'run').is_dir()


def look(rank, store, folders, results):
    dist.init_process_group(
        'gloo',
        init_method=f'file://{store}',
        rank=rank,
        world_size=3,
        timeout=timedelta(seconds=60),
    )
    results.put((rank, not_shared(folders[rank])))
    dist.destroy_process_group()


@pytest.mark.parametrize(('names', 'told'), [('aaa', None), ('aba', '1'), ('abc', '1, 2')])
def test_a_work_dir_that_is_not_shared_is_told(tmp_path, names, told):
    context = multiprocessing.get_context('fork')
    results = context.SimpleQueue()
    folders = [tmp_path / name for name in names]
    args = tmp_path / 'store', folders, results
    children = [context.Process(target=look, args=(rank, *args)) for rank in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(100)
        assert child.exitcode == 0
    found = dict(results.get() for _ in children)
    assert found[1] is found[2] is None
    if told is None:
        assert found[0] is None
    else:
        processes = ', '.join(rf'{rank} \(\S+\)' for rank in told.split(', '))
        assert re.search(rf'a is not shared: process {processes} has another folder', found[0])
    assert not [path for folder in folders if folder.exists() for path in folder.iterdir()]
