import pytest
import torch

from mae.models.layers.block import DropPath


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
def test_drop_path_keeps_the_mean(rate):
    layer, count = DropPath(rate).train(), 20000
    x = torch.ones(count, 2, 3)
    out = layer(torch.zeros_like(x), x, torch.clone)
    assert (out == out[:, :1, :1]).all()  # whole branches
    kept = out[:, 0, 0] > 0
    assert torch.allclose(out[kept], torch.tensor(1 / (1 - rate)))
    # Five deviations of a binomial share: one run in two million would fail by chance.
    tolerance = 5 * (rate * (1 - rate) / count) ** 0.5
    assert abs(kept.float().mean() - (1 - rate)) < tolerance


@pytest.mark.parametrize(('rate', 'training'), [(0.5, False), (0.0, True)])
def test_drop_path_rests(rate, training):
    x = torch.randn(4, 2, 3)
    assert torch.equal(DropPath(rate).train(training)(x, x, torch.sin), x + x.sin())


def test_the_dropped_are_not_computed():
    seen = []

    def branch(x):
        seen.append(len(x))
        return x

    x = torch.randn(1000, 2, 3)
    out = DropPath(0.5).train()(x, x, branch)
    assert seen == [int((out != x).flatten(1).any(1).sum())]


@pytest.mark.parametrize('rate', [-0.1, 1, 1.5])
def test_a_rate_that_leaves_nothing_is_refused(rate):
    with pytest.raises(ValueError, match=rf'^drop_path_rate must lie in \[0, 1\), not {rate}$'):
        DropPath(rate)
