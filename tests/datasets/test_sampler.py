import pytest
import torch

from mae.datasets import GlobalBatchSampler
from mae.registry import DATA_SAMPLERS
from mae.utils.errors import ConfigError
from mae.utils.hashing import sample_keys


def make(length, **kwargs):
    kwargs = {'rank': 0, 'world_size': 1, **kwargs}
    return GlobalBatchSampler(range(length), **kwargs)


def global_batches(length, world_size, **kwargs):
    """Per global batch, the micro-batches of all ranks in the order that the contract gives."""
    ranks = [make(length, rank=r, world_size=world_size, **kwargs) for r in range(world_size)]
    streams = [list(sampler) for sampler in ranks]
    assert len({len(stream) for stream in streams}) == 1
    assert all(len(sampler) == len(stream) for sampler, stream in zip(ranks, streams, strict=True))
    batches, at = [], 0
    for step in range(ranks[0].steps_per_epoch):
        parts = []
        for micro in range(at, at + ranks[0].micro_steps(step)):
            parts += [stream[micro] for stream in streams]
        at += ranks[0].micro_steps(step)
        batches.append(parts)
        assert sum(map(len, parts)) == ranks[0].step_size(step)
    assert at == len(streams[0])
    return batches


def flat(batches):
    return [[pair for part in parts for pair in part] for parts in batches]


@pytest.mark.parametrize('drop_last', [True, False])
@pytest.mark.parametrize(('world_size', 'batch_size'), [(1, 12), (1, 4), (2, 6), (3, 2), (4, 1)])
def test_global_batches_do_not_depend_on_the_devices(world_size, batch_size, drop_last):
    kwargs = {'global_batch_size': 12, 'seed': 3, 'drop_last': drop_last}
    expected = flat(global_batches(67, 1, batch_size=12, **kwargs))
    found = flat(global_batches(67, world_size, batch_size=batch_size, **kwargs))
    assert found[:5] == expected[:5]
    assert [len(batch) for batch in expected] == [12] * 5 + [7] * (not drop_last)
    if not drop_last:
        rest = 4 if batch_size == 1 else 7  # 4 ranks x 1: three samples would leave one rank out
        assert found[5] == expected[5][:rest]


@pytest.mark.parametrize('drop_last', [True, False])
def test_any_number_of_devices_up_to_the_batch(drop_last):
    kwargs = {'global_batch_size': 13, 'seed': 3, 'drop_last': drop_last}
    expected = flat(global_batches(60, 1, batch_size=13, **kwargs))
    for world_size in range(1, 14):
        for batch_size in range(2, 15):
            parts = global_batches(60, world_size, batch_size=batch_size, **kwargs)
            sizes = [[len(part) for part in batch] for batch in parts]
            assert all(1 <= min(s) <= max(s) <= batch_size for s in sizes)
            assert all(max(s) - min(s) <= 1 for s in sizes)
            if drop_last or world_size <= 60 % 13:
                assert flat(parts) == expected
            else:
                assert flat(parts) == expected[:-1]


def test_micro_steps_take_the_slices_that_the_contract_gives():
    order = [pair for part in make(48, batch_size=48) for pair in part]
    sampler = make(48, batch_size=2, global_batch_size=24, rank=1, world_size=3)
    assert sampler.accumulation == 4
    expected = [order[b * 24 + (a * 3 + 1) * 2 :][:2] for b in range(2) for a in range(4)]
    assert list(sampler) == expected


@pytest.mark.parametrize(('world_size', 'batch_size'), [(1, 3), (2, 3), (3, 1), (3, 4), (4, 2)])
def test_last_batch_is_even_and_leaves_no_rank_out(world_size, batch_size):
    for length in range(24, 49):
        parts = global_batches(
            length, world_size, batch_size=batch_size, global_batch_size=24, drop_last=False
        )
        sizes = [[len(part) for part in batch] for batch in parts]
        assert all(min(s) >= 1 and max(s) <= batch_size and max(s) - min(s) <= 1 for s in sizes)
        lost = length - sum(map(sum, sizes))
        assert 0 <= lost < world_size
        if batch_size > 1 and length % 24 >= world_size:
            assert lost == 0


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own():
    sampler = make(50, batch_size=10)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_position(epoch)
        orders.append([sample for batch in sampler for sample, _ in batch])
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    other = make(50, batch_size=10, seed=1)
    assert orders[0] != [sample for batch in other for sample, _ in batch]
    plain = make(50, batch_size=10, shuffle=False)
    assert [sample for batch in plain for sample, _ in batch] == list(range(50))


def test_shuffle_is_uniform():
    sampler = make(6, batch_size=6)
    counts = torch.zeros(6, 6)
    for epoch in range(1200):
        sampler.set_position(epoch)
        counts[torch.arange(6), [sample for sample, _ in next(iter(sampler))]] += 1
    chi2 = ((counts - 200) ** 2 / 200).sum()
    assert chi2 < 53  # 25 degrees of freedom: p = .001


def test_keys_are_those_of_seed_epoch_and_id():
    sampler = make(20, batch_size=20, seed=5)
    sampler.set_position(7)
    batch = next(iter(sampler))
    ids = torch.tensor([sample for sample, _ in batch])
    assert sample_keys(5, 7, ids).tolist() == [key for _, key in batch]


@pytest.mark.parametrize('step', [0, 1, 3, 4])
def test_position_continues_in_the_middle_of_an_epoch(step):
    kwargs = {'batch_size': 2, 'global_batch_size': 8, 'drop_last': False}
    whole, late = make(35, **kwargs), make(35, **kwargs)
    whole.set_position(4)
    late.set_position(4, step)
    assert list(late) == list(whole)[step * 4 :]


def test_repeats_have_ids_and_keys_of_their_own():
    sampler = make(10, batch_size=10, num_repeats=3)
    pairs = [pair for batch in sampler for pair in batch]
    assert sampler.steps_per_epoch == 3
    assert sorted(sample for sample, _ in pairs) == list(range(30))
    assert sorted(sample % 10 for sample, _ in pairs) == sorted(list(range(10)) * 3)
    assert len({key for _, key in pairs}) == 30


@pytest.mark.parametrize(
    ('length', 'kwargs', 'message'),
    [
        (100, {'batch_size': 6, 'global_batch_size': 0}, 'samples of a batch: 1 and .*=0'),
        (
            100,
            {'batch_size': 2, 'global_batch_size': 4, 'world_size': 5},
            'more processes than samples of a batch: 5 and global_batch_size=4',
        ),
        (
            100,
            {'batch_size': 1, 'global_batch_size': 20, 'world_size': 3},
            'take batch_size 2, or global_batch_size 18 or 21',
        ),
        (3, {'batch_size': 1, 'world_size': 4}, 'more processes than samples: 4 and 3'),
        (7, {'batch_size': 8}, '7 samples, .* global batch of 8'),
        (7, {'batch_size': 0}, 'must be >= 1'),
        (7, {'batch_size': 1, 'rank': 2, 'world_size': 2}, 'rank must lie in 0..1'),
    ],
)
def test_numbers_that_do_not_fit(length, kwargs, message):
    with pytest.raises(ConfigError, match=message) as error:
        make(length, **kwargs)
    assert '\n' not in str(error.value)


def test_a_dataset_smaller_than_a_batch_is_allowed_without_drop_last():
    assert [len(batch) for batch in make(7, batch_size=8, drop_last=False)] == [7]


def test_registered():
    cfg = {'type': 'GlobalBatchSampler', 'dataset': range(8), 'batch_size': 4}
    assert len(DATA_SAMPLERS.build(cfg)) == 2
