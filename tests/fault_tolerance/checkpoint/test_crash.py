"""Killed at any system call of a save: a good checkpoint is there, and none is half a one."""

import shutil

import pytest
import torch

from mae.fault_tolerance.checkpoint import (
    choose_checkpoint,
    load_checkpoint,
    newest_verified,
    verified,
)
from mae.fault_tolerance.checkpoint.folder import remove_lone_manifests
from mae.fault_tolerance.checkpoint.save import Pruner, commit
from mae.utils.files import remove_stale_temporaries
from tests.faults.calls import CALLS, Calls


def restart(folder, tiny, steps):
    """What the next process does; the step it goes on from, one of `steps`."""
    remove_stale_temporaries(folder)
    remove_lone_manifests(folder)
    warnings = []
    choice = choose_checkpoint(folder, 5, warnings.append)
    assert choice is not None
    assert choice.verified
    assert not warnings
    found = load_checkpoint(choice.path)
    step = found['meta']['step']
    assert step in steps
    assert torch.equal(found['state_dict']['w'], tiny.content(step)['state_dict']['w'])
    assert not [path for path in folder.iterdir() if path.name.endswith('.tmp')]
    assert {path.name for path in folder.glob('*.json')} == {
        f'{path.name}.json' for path in folder.glob('*.pth')
    }
    return step


@pytest.fixture(params=['new', 'same-name', 'best', 'first', 'superseding'])
def scene(request, tiny):
    """(folder before the save, the save, the steps that a restart may find)."""
    before = tiny.folder / 'before'
    before.mkdir()
    shelf = Pruner(2)
    for step in (5, 10, 15):
        commit(tiny.content(step), before / f'iter_{step}.pth', shelf)
    name, start, steps = f'iter_{20}.pth', None, {15, 20}
    if request.param == 'same-name':
        name = 'iter_15.pth'
    elif request.param == 'best':
        commit(tiny.content(12), before / 'best.pth')
        name = 'best.pth'
    elif request.param == 'first':
        commit(tiny.content(1), before / 'iter_1.pth')
        for step in (10, 15):
            for path in before.glob(f'iter_{step}.*'):
                path.unlink()
        steps = {1, 20}
    elif request.param == 'superseding':
        name, start, steps = 'iter_12.pth', 10, {15, 12}

    def save(folder):
        step = 12 if request.param == 'superseding' else 20
        commit(tiny.content(step), folder / name, Pruner(2), start)

    return before, save, steps


def test_at_every_system_call(scene, tiny):
    before, save, steps = scene
    with Calls() as calls:
        save(shutil.copytree(before, tiny.folder / 'whole'))
    assert set(calls.seen) >= {'open', 'write', 'fsync', 'close', 'replace'}
    seen = []
    for number in range(1, len(calls.seen) + 1):
        folder = shutil.copytree(before, tiny.folder / str(number))
        with Calls(kill_at=number) as dying:
            save(folder)
        assert dying.dead
        assert len(list(verified(folder))) >= 2 - (1 in steps)
        seen.append(restart(folder, tiny, steps))
    assert set(seen) == steps  # before the rename the old one, after it the new one
    assert set(CALLS) >= set(calls.seen)


@pytest.mark.parametrize('share', [0.0, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0])
def test_torn_write(tiny, share):
    tiny.save(5), tiny.save(10)
    size = (tiny.folder / 'iter_10.pth').stat().st_size
    with Calls(torn_after=max(1, int(size * share))) as calls:
        tiny.save(15)
    assert calls.dead
    assert restart(tiny.folder, tiny, {10}) == 10


def test_content_is_the_same_each_time(tiny, tmp_path):
    first = newest_verified(tiny.save(5).parent)
    again = commit(tiny.content(5), tmp_path / 'iter_5.pth') or newest_verified(tmp_path)
    assert first.record.sha256 == again.record.sha256


def test_a_folder_in_the_place_of_the_pointer_is_no_reason_to_fail(tmp_path, tiny):
    (tmp_path / 'last_checkpoint').mkdir()
    (tmp_path / 'last_checkpoint' / 'note').write_text('of somebody')
    commit(tiny.content(5), tmp_path / 'iter_5.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_5.pth')
    assert (tmp_path / 'last_checkpoint.corrupt' / 'note').read_text() == 'of somebody'
