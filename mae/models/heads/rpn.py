"""Proposals of boxes: torchvision's region proposal network with the recipes' loss.

Shapes: B images, C channels, H W pixels of a level, G objects, R proposals of an image.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from mae.models.heads.sampling import KeyedSampler, image_weights
from mae.models.layers.conv import check_sizes
from mae.registry import MODELS
from mae.utils.text import counted

BoxLoss = Literal['l1', 'smooth']
_SMOOTH_BETA = 1 / 9  # torchvision's
_STREAM = 0x72706E  # b'rpn'


@MODELS.register_module()
class RPN(nn.Module):
    """Objectness and offsets of anchors on every level (Ren et al. 2015, "Faster R-CNN").

    The losses are means over the samples of an image, and over the images.

    Args:
        sizes: side of the anchors of each level in pixels, from the finest level.
        ratios: height over width of the anchors.
        num_convs: 3x3 convolutions before the two outputs.
        proposals: a pair for training and one for testing: the number kept of a level before
            non-maximum suppression, and of an image after it.
        samples: anchors of an image that the loss is computed of.
        box_loss: 'l1' of the recipes, or torchvision's 'smooth'.
        channels: of each level, which the detector states.

    Raises:
        ValueError: not one size a level, levels of different widths, sizes, ratios or numbers out
            of range, or an unknown loss.
    """

    def __init__(
        self,
        sizes: Sequence[float] = (32, 64, 128, 256, 512),
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        *,
        num_convs: int = 2,
        proposals: tuple[tuple[int, int], tuple[int, int]] = ((2000, 1000), (1000, 1000)),
        samples: int = 256,
        box_loss: BoxLoss = 'l1',
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        if len(sizes) != len(channels):
            raise ValueError(
                f'rpn.sizes must have {counted(len(channels), "size")}, one for each level, '
                f'not {list(sizes)}'
            )
        if len(set(channels)) != 1:
            raise ValueError(f'levels must have one width, not {list(channels)}')
        if not ratios or min(*sizes, *ratios) <= 0:
            raise ValueError(
                f'rpn.sizes and rpn.ratios must be positive, not {list(sizes)} and {list(ratios)}'
            )
        check_sizes({'samples': samples, 'proposals': min(map(min, proposals))})
        anchors = _Anchors(tuple((size,) for size in sizes), (tuple(ratios),) * len(sizes))
        before, after = (
            {'training': training, 'testing': testing}
            for training, testing in zip(*proposals, strict=True)
        )
        self.network = _Network(
            anchors,
            RPNHead(channels[0], len(ratios), conv_depth=num_convs),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=samples,
            positive_fraction=0.5,
            pre_nms_top_n=before,
            post_nms_top_n=after,
            nms_thresh=0.7,
        )
        self.network.box_loss = check_box_loss('rpn', box_loss)
        self.network.fg_bg_sampler = KeyedSampler(samples, 0.5, _STREAM)

    def init_weights(self) -> None:
        """Normal with deviation .01."""
        for layer in self.network.head.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(
        self,
        levels: Sequence[Tensor],
        sizes: list[tuple[int, int]],
        canvas: tuple[int, int],
        objects: list[dict[str, Tensor]] | None = None,
        keys: Tensor | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals (R, 4) of each image, in training with the losses.

        Args:
            levels: (B, C, H, W) each, from the finest.
            sizes: (height, width) of the part of each image that is picture.
            canvas: (height, width) of the batch's images.
            objects: `boxes` (G, 4) of each image, in training.
            keys: int64 (B,), which choose the samples; None draws them from torch's generator.
        """
        self.network.fg_bg_sampler.keys = keys
        images = ImageList(levels[0].new_zeros(1).expand(len(sizes), 1, *canvas), sizes)
        named = {str(number): level for number, level in enumerate(levels)}
        boxes, losses = self.network(images, named, objects)
        names = {'loss_objectness': 'loss_rpn_class', 'loss_rpn_box_reg': 'loss_rpn_box'}
        return boxes, {names[name]: loss for name, loss in losses.items()}


class _Anchors(AnchorGenerator):
    """In float32 whatever the levels are: bfloat16 places them a few pixels beside."""

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        alike = [m.new_zeros(1, dtype=torch.float32).expand(m.shape) for m in feature_maps]
        anchors: list[Tensor] = super().forward(image_list, alike)
        return anchors


class _Network(RegionProposalNetwork):
    box_loss: BoxLoss

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Of sampled anchors: cross entropy of the objectness, and the loss of the offsets."""
        is_object, is_not = self.fg_bg_sampler(labels)
        chosen = [a | b for a, b in zip(is_object, is_not, strict=True)]
        sampled = torch.where(torch.cat(chosen))[0]
        flat = objectness.flatten().float()
        weights = image_weights([int(flags.sum()) for flags in chosen], flat)
        targets = torch.cat(labels)[sampled]
        classes = F.binary_cross_entropy_with_logits(
            flat[sampled], targets, weight=weights, reduction='sum'
        )
        found = targets > 0
        positive = sampled[found]
        offsets = offset_loss(
            self.box_loss,
            pred_bbox_deltas[positive],
            torch.cat(regression_targets)[positive],
            weights[found],
        )
        return classes, offsets


def check_box_loss(part: str, kind: BoxLoss) -> BoxLoss:
    """Refuse an unknown loss.

    Raises:
        ValueError: says those there are.
    """
    if kind not in get_args(BoxLoss):
        raise ValueError(f"{part}.box_loss must be 'l1' or 'smooth', not {kind!r}")
    return kind


def offset_loss(kind: BoxLoss, pred: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Sum of the losses of offsets (R, 4), each row with its weight (R,)."""
    pred, target = pred.float(), target.float()
    if kind == 'l1':
        each = F.l1_loss(pred, target, reduction='none')
    else:
        each = F.smooth_l1_loss(pred, target, beta=_SMOOTH_BETA, reduction='none')
    return (each.sum(dim=1) * weights).sum()
