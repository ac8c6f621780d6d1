import pytest

from mae.datasets import ShardSampler
from mae.utils.errors import ConfigError


@pytest.mark.parametrize('world_size', [1, 2, 3, 7])
@pytest.mark.parametrize('length', [7, 20, 21])
def test_every_sample_once_over_all_ranks(length, world_size):
    pairs, sizes = [], []
    for rank in range(world_size):
        sampler = ShardSampler(range(length), batch_size=4, rank=rank, world_size=world_size)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert all(1 <= len(batch) <= 4 for batch in batches)
        sizes.append(sum(map(len, batches)))
        pairs += [pair for batch in batches for pair in batch]
    assert [sample for sample, _ in pairs] == list(range(length))
    assert max(sizes) - min(sizes) <= 1
    single = ShardSampler(range(length), batch_size=length, rank=0, world_size=1)
    assert pairs == next(iter(single))


def test_every_epoch_is_the_same():
    sampler = ShardSampler(range(9), batch_size=4, seed=2, rank=0, world_size=1)
    first = list(sampler)
    sampler.set_position(3, 1)
    assert list(sampler) == first


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'batch_size': 2, 'rank': 0, 'world_size': 4}, 'more processes than samples: 4 and 3'),
        ({'batch_size': 0}, 'batch_size must be >= 1'),
    ],
)
def test_numbers_that_do_not_fit(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        ShardSampler(range(3), **kwargs)
