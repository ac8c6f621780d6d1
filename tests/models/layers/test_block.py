import pytest
import torch

from mae.models.layers.block import Block, DropPath


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


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_equals_a_mask_over_all(dtype):
    """The same images, values and gradients as with every branch computed and masked."""
    torch.manual_seed(0)
    block = Block(8, 2, drop_path_rate=0.5).train().to(dtype)
    x = torch.randn(6, 5, 8, dtype=dtype)
    results = []
    for dense in (False, True):
        given = x.clone().requires_grad_()
        block.zero_grad()
        torch.manual_seed(1)
        y = given
        if dense:
            for branch in (
                lambda y: block.attn(block.norm1(y)),
                lambda y: block.mlp(block.norm2(y)),
            ):
                y = y + branch(y) * ((torch.rand(6) < 0.5) / 0.5)[:, None, None].to(dtype)
        else:
            y = block(y)
        y.square().sum().backward()
        results.append([y, given.grad, *(p.grad for p in block.parameters())])
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    for here, there in zip(*results, strict=True):
        torch.testing.assert_close(here, there, rtol=tolerance, atol=tolerance)


def test_a_batch_may_lose_every_image():
    block = Block(8, 2, drop_path_rate=0.999).train()
    x = torch.randn(2, 5, 8, requires_grad=True)
    torch.manual_seed(0)
    out = block(x)
    assert torch.equal(out, x)
    out.sum().backward()
    assert all(p.grad is not None for p in block.parameters())
