import pytest
import torch

from mae.models.decoders import TransformerDecoder


def decoder(depth=2, **options):
    facts = dict(encoder_dim=12, target_dim=20, grid_size=(2, 3), num_prefix_tokens=1)
    model = TransformerDecoder(8, depth, num_heads=2, **{**facts, **options}).double()
    model.init_weights()
    return model


@pytest.mark.parametrize('depth', [1, 3])
@pytest.mark.parametrize('prefix', [0, 1])
def test_order_of_patches_carries_no_meaning(depth, prefix):
    """Predictions follow their ids, whatever the order of hidden and of visible patches."""
    model = decoder(depth, num_prefix_tokens=prefix)
    latent = torch.randn(2, prefix + 2, 12, dtype=torch.float64)
    keep, hide = torch.tensor([[1, 4], [0, 5]]), torch.tensor([[0, 2, 3, 5], [1, 2, 3, 4]])
    pred = model(latent, keep, hide)
    assert pred.shape == (2, 4, 20)
    swapped = torch.cat([latent[:, :prefix], latent[:, prefix:].flip(1)], 1)
    torch.testing.assert_close(model(swapped, keep.flip(1), hide.flip(1)), pred.flip(1))


@pytest.mark.parametrize('what', ['cheap', 'blocks'])
def test_recomputing_activations_changes_nothing(what):
    latent = torch.randn(2, 3, 12, dtype=torch.float64)
    keep, hide = torch.tensor([[1, 4], [0, 5]]), torch.tensor([[0, 2, 3, 5], [1, 2, 3, 4]])
    grads = []
    for recompute in ('nothing', what):
        torch.manual_seed(0)
        model = decoder(recompute=recompute).train()
        model(latent, keep, hide).square().sum().backward()
        grads.append([p.grad for p in model.parameters() if p.requires_grad])
    for plain, recomputed in zip(*grads, strict=True):
        assert torch.equal(plain, recomputed)


def test_depth_below_one():
    with pytest.raises(ValueError, match=r'^decoder.depth must be at least 1, not 0$'):
        decoder(0)
