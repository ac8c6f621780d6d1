import pytest
import torch

from mae.models.layers.block import Block
from mae.models.layers.cross import CrossBlock


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


@pytest.mark.parametrize(('dim', 'ratio', 'hidden'), [(100, 1.15, 115), (60, 4.1, 246)])
def test_width_of_the_mlp_is_exact(dim, ratio, hidden):
    """In floats one less, so that weights of 115 / 100 would not load."""
    assert int(dim * ratio) == hidden - 1
    for block in (Block(dim, 2, mlp_ratio=ratio), CrossBlock(dim, 2, mlp_ratio=ratio)):
        assert block.mlp.fc1.out_features == block.mlp.fc2.in_features == hidden


def test_a_batch_may_lose_every_image():
    block = Block(8, 2, drop_path_rate=0.999).train()
    x = torch.randn(2, 5, 8, requires_grad=True)
    torch.manual_seed(0)
    out = block(x)
    assert torch.equal(out, x)
    out.sum().backward()
    assert all(p.grad is not None for p in block.parameters())
