"""What stays of a run that fails."""

import pytest

from mae.fault_tolerance.work_dir import tidy_start


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
    return sorted(str(path.relative_to(work_dir)) for path in work_dir.rglob('*.*'))


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


@pytest.mark.parametrize('result', ['now/vis_data/scalars.json', 'iter_3.pth'])
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
