import pytest
import torch

from mae.models.layers.block import DropPath


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
def test_drop_path_keeps_the_mean(rate):
    layer, count = DropPath(rate).train(), 20000
    out = layer(torch.ones(count, 2, 3))
    assert (out == out[:, :1, :1]).all()  # whole branches
    kept = out[:, 0, 0] > 0
    assert torch.allclose(out[kept], torch.tensor(1 / (1 - rate)))
    # Five deviations of a binomial share: one run in two million would fail by chance.
    tolerance = 5 * (rate * (1 - rate) / count) ** 0.5
    assert abs(kept.float().mean() - (1 - rate)) < tolerance


def test_drop_path_rests():
    x = torch.randn(4, 2, 3)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0).train()(x) is x
    assert DropPath(0.5).train()(x.bfloat16()).dtype == torch.bfloat16
