import pytest
import torch
from torch import nn

from mae.models.decoders import CrossDecoder


def decoder(depth=2, **options):
    facts = dict(encoder_dim=12, target_dim=20, grid_size=(2, 3), num_prefix_tokens=1)
    model = CrossDecoder(8, depth, num_heads=2, **{**facts, **options}).double()
    model.init_weights()
    return model


KEEP, HIDE = torch.tensor([[1, 4], [0, 5]]), torch.tensor([[0, 2, 3, 5], [1, 2, 3, 4]])


@pytest.mark.parametrize('prefix', [0, 1])
def test_a_prediction_is_what_it_would_be_alone(prefix):
    """Hidden patches do not attend to each other: a subset is predicted as among all."""
    model = decoder(num_prefix_tokens=prefix)
    latent = torch.randn(2, prefix + 2, 12, dtype=torch.float64)
    pred = model(latent, KEEP, HIDE)
    torch.testing.assert_close(model(latent, KEEP, HIDE[:, 1:2]), pred[:, 1:2])
    torch.testing.assert_close(model(latent, KEEP, HIDE[:, [3, 0]]), pred[:, [3, 0]])


def test_order_of_visible_patches_carries_no_meaning():
    model = decoder()
    latent = torch.randn(2, 3, 12, dtype=torch.float64)
    swapped = torch.cat([latent[:, :1], latent[:, 1:].flip(1)], 1)
    pred = model(latent, KEEP, HIDE)
    torch.testing.assert_close(model(swapped, KEEP.flip(1), HIDE), pred)


def test_equals_torchs_attention():
    """A block against `nn.MultiheadAttention` with the same weights."""
    block = decoder(1).blocks[0]
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    attn = block.attn
    theirs.in_proj_weight.data = torch.cat([attn.q.weight, attn.kv.weight])
    theirs.in_proj_bias.data = torch.cat([attn.q.bias, attn.kv.bias])
    theirs.out_proj.load_state_dict(attn.proj.state_dict())
    x = torch.randn(2, 4, 8, dtype=torch.float64)
    memory = torch.randn(2, 3, 8, dtype=torch.float64)
    asked = x + theirs(block.norm1(x), memory, memory)[0]
    expected = asked + block.mlp.fc2(nn.functional.gelu(block.mlp.fc1(block.norm2(asked))))
    torch.testing.assert_close(block(x, memory), expected)


def test_depth_below_one():
    with pytest.raises(ValueError, match=r'^decoder.depth must be at least 1, not 0$'):
        decoder(0)


def test_heads_that_do_not_split_the_width():
    with pytest.raises(ValueError, match=r'^a width of 8 .* 3 heads$'):
        CrossDecoder(
            8, 1, num_heads=3, encoder_dim=4, target_dim=4, grid_size=(2, 3), num_prefix_tokens=0
        )
