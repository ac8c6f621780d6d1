"""Which checkpoint is taken: the latest good one, whatever else lies there."""

import json
import os
import random

import pytest
import torch

from mae.fault_tolerance.checkpoint import (
    check_checkpoint,
    choose_checkpoint,
    load_checkpoint,
    newest_verified,
)
from mae.fault_tolerance.checkpoint.manifest import (
    Damaged,
    _checksum,
    manifest_path,
    verify_checkpoint,
)
from mae.utils.errors import CheckpointError
from tests.faults.calls import cut, flip_bit, size_in_bits


@pytest.fixture
def choose(tiny):
    """choose() is the name of the file taken; `choose.warnings` is what was said."""

    def call():
        choice = choose_checkpoint(tiny.folder, 5, call.warnings.append)
        return choice and choice.path.name

    call.warnings = []
    return call


@pytest.mark.parametrize('share', [0, 0.01, 0.25, 0.5, 0.75, 0.99, None])
def test_cut(tiny, choose, share):
    tiny.save(5)
    newest = tiny.save(10)
    cut(newest, share, less=1)
    with pytest.raises(CheckpointError, match=r'^[^\n]*iter_10.pth is damaged[^\n]*$'):
        load_checkpoint(newest)
    assert choose() == 'iter_5.pth'
    (warning,) = choose.warnings
    assert 'iter_10.pth is damaged: it has' in warning
    assert 'set aside as iter_10.pth.corrupt' in warning
    assert sorted(path.name for path in tiny.folder.iterdir()) == [
        'iter_10.pth.corrupt',
        'iter_10.pth.corrupt.json',
        'iter_5.pth',
        'iter_5.pth.json',
        'last_checkpoint',
    ]


def test_every_flipped_bit_is_seen(tiny):
    path = tiny.save(5)
    draw = random.Random(0)
    for _ in range(1000):
        bit = draw.randrange(size_in_bits(path))
        flip_bit(path, bit)
        with pytest.raises(Damaged):
            verify_checkpoint(path)
        flip_bit(path, bit)
    verify_checkpoint(path)


def test_flipped_bits_of_a_manifest_change_no_number(tiny, choose):
    """It is unreadable then, and the file's own checksums serve; never another step or hash."""
    tiny.save(5)
    manifest = tiny.folder / 'iter_5.pth.json'
    draw = random.Random(0)
    for _ in range(100):
        bit = draw.randrange(size_in_bits(manifest))
        flip_bit(manifest, bit)
        assert choose() == 'iter_5.pth'
        found = newest_verified(tiny.folder)
        assert found is None or found.step == 5
        flip_bit(manifest, bit)
    assert choose.warnings


@pytest.mark.parametrize('wrong', [{'step': 'x'}, {'size': None}, {'best': 'x'}, {'more': 1}])
def test_a_manifest_that_says_nonsense_counts_as_none(tiny, choose, wrong):
    """Its checksum is right: somebody wrote it."""
    tiny.save(5), tiny.save(10)
    manifest = manifest_path(tiny.folder / 'iter_10.pth')
    data = json.loads(manifest.read_text())
    del data['checksum']
    data['content'] |= wrong
    manifest.write_text(json.dumps({**data, 'checksum': _checksum(data)}))
    assert choose() == 'iter_10.pth'
    assert 'has no manifest; ' in choose.warnings[-1]


@pytest.mark.parametrize(
    'pointer', [None, '', 'gone/iter_99.pth', '\x00\xff garbage', '/', 'iter_5.pth']
)
def test_the_pointer_does_not_decide(tiny, choose, pointer):
    tiny.save(5), tiny.save(10)
    path = tiny.folder / 'last_checkpoint'
    path.unlink()
    if pointer is not None:
        path.write_text(pointer)
    assert choose() == 'iter_10.pth'
    assert not choose.warnings


def test_neither_does_the_time(tiny, choose):
    tiny.save(10), tiny.save(5)
    os.utime(tiny.folder / 'iter_10.pth', (0, 0))
    assert choose() == 'iter_10.pth'


def test_folders_and_other_things_of_that_name(tiny, choose):
    tiny.save(5)
    (tiny.folder / 'iter_10.pth').mkdir()
    (tiny.folder / 'iter_10.pth' / 'data').write_text('half')
    (tiny.folder / 'iter_11.pth').symlink_to(tiny.folder / 'gone')
    os.mkfifo(tiny.folder / 'iter_12.pth')
    (tiny.folder / 'iter_13.pth.json').write_text('{}')  # a manifest without a file
    (tiny.folder / 'iter_9').mkdir()
    (tiny.folder / 'epoch_x.pth').write_text('')
    (tiny.folder / '.iter_14.pth.host-1.tmp').write_bytes(b'half')
    assert choose() == 'iter_5.pth'
    assert sum('not a file; set aside' in warning for warning in choose.warnings) == 3


def test_of_an_older_version_without_a_manifest(tiny, choose):
    tiny.save(5)
    torch.save(tiny.content(15), tiny.folder / 'epoch_3.pth')
    assert choose() == 'epoch_3.pth'
    assert 'has no manifest' in choose.warnings[0]
    assert newest_verified(tiny.folder).path.name == 'iter_5.pth'


def test_without_a_manifest_its_own_checksums_count(tiny, choose):
    tiny.save(5)
    newest = tiny.folder / 'iter_10.pth'
    torch.save(tiny.content(10), newest)
    raw = newest.read_bytes()
    weights = tiny.content(10)['state_dict']['w'].numpy().tobytes()
    newest.write_bytes(raw.replace(weights, b'\x01' + weights[1:]))
    assert choose() == 'iter_5.pth'
    assert 'the checksum of' in choose.warnings[0]


def test_all_damaged(tiny, choose):
    for step in (5, 10):
        cut(tiny.save(step), 0.5)
    assert choose() is None
    assert len(choose.warnings) == 2
    assert len([*tiny.folder.glob('*.corrupt')]) == 2


def test_weights_that_are_not_finite_are_passed_over(tiny, choose):
    tiny.save(5)
    tiny.save(10, finite=False)
    assert choose() == 'iter_5.pth'
    assert 'iter_10.pth is passed over: ' in choose.warnings[0]
    assert 'not finite' in choose.warnings[0]
    assert (tiny.folder / 'iter_10.pth').exists()
    assert newest_verified(tiny.folder).step == 10
    assert newest_verified(tiny.folder, finite=True).step == 5


def test_none_is_finite(tiny, choose):
    tiny.save(10, finite=False)
    with pytest.raises(CheckpointError, match=r'no checkpoint .*weights are not'):
        choose()


def test_what_cannot_be_read_just_now_stays(tiny, choose, monkeypatch):
    tiny.save(5), tiny.save(10)
    real = type(tiny.folder).open

    def open_(path, *args, **kwargs):
        if path.name == 'iter_10.pth':
            raise OSError(5, 'Input/output error')
        return real(path, *args, **kwargs)

    monkeypatch.setattr(type(tiny.folder), 'open', open_)
    assert choose() == 'iter_5.pth'
    assert 'iter_10.pth is passed over' in choose.warnings[0]
    assert (tiny.folder / 'iter_10.pth').exists()


def test_the_best_serves_if_nothing_else_does(tiny, choose):
    tiny.save(5, 'best.pth')
    assert choose() == 'best.pth'
    tiny.save(5)
    assert choose() == 'iter_5.pth'


def test_a_damaged_file_given_by_name(tiny):
    good, bad = tiny.save(5), tiny.save(10)
    cut(bad, less=1)
    with pytest.raises(CheckpointError) as caught:
        check_checkpoint(bad, print)
    assert str(caught.value).endswith(f'; the newest good one there is {good}')
    assert '\n' not in str(caught.value)
    assert bad.exists()  # the user's choice is not moved
    good.unlink()
    with pytest.raises(CheckpointError, match='no good one in '):
        check_checkpoint(bad, print)


def test_given_by_name_without_a_manifest(tiny):
    path = tiny.folder / 'x.pth'
    torch.save(tiny.content(5), path)
    warnings = []
    assert not check_checkpoint(path, warnings.append).verified
    assert 'no manifest' in warnings[0]


@pytest.mark.parametrize('steps', [range(5, 45, 5), [5, 10, 30, 15, 20]])
def test_pruning_keeps_two_good_ones(tiny, steps):
    for number, step in enumerate(steps):
        tiny.save(step)
        assert len([*tiny.folder.glob('iter_*.pth')]) == min(number + 1, 2)
    kept = {f'iter_{step}.pth' for step in sorted(steps)[-2:]}
    assert {path.name for path in tiny.folder.glob('iter_*.pth')} == kept


def test_pruning_does_not_count_on_damaged_ones(tiny):
    for step in (5, 10, 15):
        tiny.save(step, prune=False)
    cut(tiny.folder / 'iter_15.pth', less=1)
    tiny.save(20)
    assert (tiny.folder / 'iter_10.pth').exists()  # 20 and 10 are good; 15 may be of use to someone
    assert not (tiny.folder / 'iter_5.pth').exists()
    tiny.save(25)
    assert sorted(path.name for path in tiny.folder.glob('*.pth')) == ['iter_20.pth', 'iter_25.pth']


def test_pruning_keeps_the_last_finite_one(tiny):
    for step in (5, 10):
        tiny.save(step)
    for step in (15, 20, 25):
        tiny.save(step, finite=False)
    assert newest_verified(tiny.folder, finite=True).step == 10
    steps = sorted(int(path.stem[5:]) for path in tiny.folder.glob('iter_*.pth'))
    assert steps == [10, 20, 25]


def test_a_run_begun_anew_sets_the_old_one_aside(tiny):
    tiny.save(5), tiny.save(10)
    tiny.save(1, start=0)
    assert newest_verified(tiny.folder).step == 1
    assert len([*tiny.folder.glob('iter_*.pth.superseded')]) == 2
    tiny.save(2, start=None)
    tiny.save(5)
    tiny.save(4, start=3)  # went back, and on from step 3
    assert newest_verified(tiny.folder).step == 4
    assert (tiny.folder / 'iter_5.pth.superseded2').exists()
