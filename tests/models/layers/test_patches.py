import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from mae.models.layers.patches import PatchEmbed, patchify, unpatchify


@pytest.mark.parametrize(('h', 'w', 'p', 'C'), [(2, 3, 4, 5), (1, 1, 2, 1), (3, 2, 1, 3)])
def test_round_trip(h, w, p, C):
    images = torch.randn(2, C, h * p, w * p)
    patches = patchify(images, p)
    assert patches.shape == (2, h * w, p * p * C)
    assert torch.equal(unpatchify(patches, p, (h, w)), images)


def test_layout_is_row_column_channel():
    images = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = patchify(images, 2)
    for number in range(6):
        row, column = divmod(number, 3)
        values = [
            images[0, channel, 2 * row + y, 2 * column + x].item()
            for y in range(2)
            for x in range(2)
            for channel in range(2)
        ]
        assert patches[0, number].tolist() == values


def test_projection_is_the_convolution():
    embed = PatchEmbed(4, 5, 7).double()
    images = torch.randn(2, 5, 8, 12, dtype=torch.float64)
    tokens = F.conv2d(images, embed.proj.weight, embed.proj.bias, stride=4)
    torch.testing.assert_close(embed(patchify(images, 4)), tokens.flatten(2).transpose(1, 2))


@pytest.mark.parametrize('C', [1, 3])
def test_the_gradient_has_the_strides_of_the_weight(C):
    """Where they differ DDP warns of its buckets."""
    embed, strides = PatchEmbed(2, C, 8), []
    embed.proj.weight.register_hook(lambda gradient: strides.append(gradient.stride()))
    embed(torch.randn(2, 3, 4 * C)).sum().backward()
    assert strides == [embed.proj.weight.stride()]


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r'^an image of 8x10 pixels .* 4x4'):
        patchify(torch.zeros(1, 3, 8, 10), 4)
    with pytest.raises(ValueError, match=r'^6 patches of 48 values .* 2x2 grid'):
        unpatchify(torch.zeros(1, 6, 48), 4, (2, 2))
    with pytest.raises(ValueError, match='do not fill'):
        unpatchify(torch.zeros(1, 6, 47), 4, (2, 3))


def test_is_built_without_values():
    with FakeTensorMode():
        layer = PatchEmbed(4, 3, 8)
        assert layer(torch.zeros(2, 5, 48)).shape == (2, 5, 8)
    assert layer.proj.weight.is_contiguous(memory_format=torch.channels_last)
