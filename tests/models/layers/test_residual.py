"""`bf16_residual`: what flows between blocks, and nothing else, changes its type."""

import pytest
import torch

from mae.models.decoders import CrossDecoder, TransformerDecoder
from mae.models.encoders import ViTEncoder

ARCH = dict(embed_dim=16, depth=3, num_heads=2)
FACTS = dict(encoder_dim=16, target_dim=20, grid_size=(2, 3), num_prefix_tokens=1)
KEEP, HIDE = torch.tensor([[1, 4], [0, 5]]), torch.tensor([[5, 0, 3, 2], [1, 2, 3, 4]])
INPUTS = {
    ViTEncoder: (torch.randn(2, 6, 48), KEEP),
    TransformerDecoder: (torch.randn(2, 3, 16), KEEP, HIDE),
    CrossDecoder: (torch.randn(2, 3, 16), KEEP, HIDE),
}


def build(kind, **options):
    torch.manual_seed(0)
    if kind is ViTEncoder:
        model = ViTEncoder(ARCH, (8, 12), patch_size=4, **options)
    else:
        model = kind(16, 2, num_heads=2, **FACTS, **options)
    model.init_weights()
    return model


def run(model, amp):
    """The output, and the types that go into the blocks and out of the last."""
    types = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, args, out: types.extend([args[0].dtype, out.dtype]))
    call = model.encode if isinstance(model, ViTEncoder) else model
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        out = call(*INPUTS[type(model)])
    out.float().square().sum().backward()
    return out.detach(), set(types)


@pytest.mark.parametrize('kind', INPUTS)
def test_only_the_stream_and_only_under_autocast(kind):
    plain, types = run(build(kind), amp=True)
    assert types == {torch.float32}
    model = build(kind, bf16_residual=True)
    lean, types = run(model, amp=True)
    assert types == {torch.bfloat16}
    assert 0 < (lean.float() - plain.float()).abs().max() < 0.1
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.parametrize('kind', INPUTS)
def test_no_effect_without_autocast(kind):
    (plain, _), (lean, types) = (run(build(kind, bf16_residual=b), amp=False) for b in (0, 1))
    assert types == {torch.float32}
    assert torch.equal(plain, lean)
