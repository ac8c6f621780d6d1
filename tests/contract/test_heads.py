"""A head: logits (B, N) from the encoder's tokens, or (B, G, N) with a grid of learning rates."""

import pytest
import torch

D, N = 16, 3


@pytest.fixture(params=[0, 1], ids=['no-cls', 'cls'])
def model(head_type, request):
    model = head_type(N, embed_dim=D, num_prefix_tokens=request.param)
    for param in model.parameters():
        param.data.fill_(torch.nan)
    model.init_weights()
    return model.double().eval()


def test_logits(model):
    tokens = torch.randn(4, 7, D, dtype=torch.float64)
    logits = model(tokens)
    grid = (len(model.lr_scales),) if hasattr(model, 'lr_scales') else ()
    assert logits.shape == (4, *grid, N)
    assert logits.isfinite().all()
    torch.testing.assert_close(model(tokens[1:2]), logits[1:2])
    # At the start all classes are about as likely.
    assert logits.softmax(-1).sub(1 / N).abs().max() < 0.01


def test_every_parameter_learns(model):
    (model(torch.randn(4, 7, D, dtype=torch.float64))[..., 0]).sum().backward()
    assert all(param.grad is not None for param in model.parameters())


def test_no_classes(head_type):
    with pytest.raises(ValueError, match=r'^head\.num_classes must be at least 1, not 0$'):
        head_type(0, embed_dim=D, num_prefix_tokens=0)
