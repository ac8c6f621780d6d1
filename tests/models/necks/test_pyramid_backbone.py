"""Our encoder, and a neck or none, as torchvision's backbone: it trains and detects."""

import pytest
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from mae.models.encoders import DenseViTEncoder
from mae.models.necks import FPNNeck, LevelsNeck, PyramidBackbone, SimplePyramid

NECKS = {SimplePyramid: [3], FPNNeck: [0, 1, 2, 3], None: [3]}


def build(neck, taps):
    torch.manual_seed(0)
    encoder = DenseViTEncoder(
        {'embed_dim': 16, 'depth': 4, 'num_heads': 2},
        64,
        patch_size=8,
        with_cls_token=False,
        window_size=3,
        global_blocks=[1, 3],
    )
    if neck is None:
        return PyramidBackbone(encoder, None, taps)
    facts = {'num_taps': len(taps)} if neck is not SimplePyramid else {}
    options = {} if neck is LevelsNeck else {'channels': 8}
    return PyramidBackbone(encoder, neck(embed_dim=16, patch_size=8, **facts, **options), taps)


@pytest.mark.parametrize('neck', NECKS)
def test_a_step_of_torchvisions_detector(neck):
    backbone = build(neck, NECKS[neck])
    assert backbone.out_channels == (8 if neck else 16)
    sides = (8, 16, 24, 32, 64) if neck else (16,)
    model = MaskRCNN(
        backbone,
        num_classes=3,
        rpn_anchor_generator=AnchorGenerator(
            tuple((side,) for side in sides), ((0.5, 1.0, 2.0),) * len(sides)
        ),
        min_size=48,
        max_size=64,
        size_divisible=8,
        box_batch_size_per_image=16,
        rpn_post_nms_top_n_train=40,
    ).train()
    images = [torch.rand(3, 40, 64), torch.rand(3, 48, 56)]
    masks = torch.zeros(1, 40, 64, dtype=torch.uint8)
    masks[:, 5:30, 10:40] = 1
    target = {'boxes': torch.tensor([[10.0, 5, 40, 30]]), 'labels': torch.tensor([2])}
    targets = [{**target, 'masks': masks}, {**target, 'masks': masks[:, :, :56]}]
    before = backbone.encoder.blocks[0].attn.qkv.weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sum(model(images, targets).values()).backward()
    optimizer.step()
    assert not torch.equal(backbone.encoder.blocks[0].attn.qkv.weight, before)
    with torch.no_grad():
        found = model.eval()(images)
    assert [set(some) for some in found] == [{'boxes', 'labels', 'scores', 'masks'}] * 2


def test_levels_of_different_widths_are_refused():
    neck = LevelsNeck(embed_dim=16, patch_size=8, num_taps=4)
    neck.channels = (8, 16, 16, 16)
    with pytest.raises(ValueError, match='one width'):
        PyramidBackbone(torch.nn.Identity(), neck, [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r'taps must name one block if neck is None, not \[1, 3\]'):
        PyramidBackbone(torch.nn.Identity(), None, [1, 3])
