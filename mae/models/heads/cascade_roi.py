"""A second stage that moves its boxes three times (Cai and Vasconcelos 2018, "Cascade R-CNN").

Shapes: B images, R proposals of all images, G objects of an image, N classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou, clip_boxes_to_image

from mae.models.heads.roi import BoxHead, BoxOutputs, RoIHead
from mae.models.layers.conv import Norm
from mae.registry import MODELS

_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the offsets, in the first stage
_LEAST = 1e-2  # pixels of a box's side


@MODELS.register_module()
class CascadeRoIHead(RoIHead):
    """Stages of boxes, each with layers of its own, trained on the boxes that the one before gives.

    As in detectron2: a box has one set of offsets for all classes, all stages' losses are added,
    the pooled features take the mean of their gradients, and scores are averaged. Masks are those
    of the first stage's samples in training, of the last boxes in evaluation.

    Args:
        num_classes: N.
        ious: least overlap with an object of each stage, rising from .5.
        width: see `RoIHead`, like `box_side`, `box_convs`, `hidden`, `norm`, `channels` and
            `strides`.
        options: see `RoIHead`.

    Raises:
        ValueError: overlaps that do not rise from .5, or see `RoIHead`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ious: Sequence[float] = (0.5, 0.6, 0.7),
        width: int = 256,
        box_side: int = 7,
        box_convs: int = 4,
        hidden: int = 1024,
        norm: Norm = 'channels',
        channels: Sequence[int],
        strides: Sequence[int],
        **options: Any,
    ) -> None:
        shape: dict[str, Any] = {'width': width, 'hidden': hidden, 'norm': norm}
        super().__init__(
            num_classes,
            box_side=box_side,
            box_convs=box_convs,
            channels=channels,
            strides=strides,
            **shape,
            **options,
        )
        if len(ious) < 2 or ious[0] != 0.5 or list(ious) != sorted(set(ious)) or ious[-1] >= 1:
            raise ValueError(f'roi.ious must rise from 0.5 and stay below 1, not {list(ious)}')
        self.ious = tuple(ious)
        self.coders = [
            BoxCoder(tuple(weight * (number + 1) for weight in _WEIGHTS))
            for number in range(len(ious))
        ]
        self.stages.box_predictor = BoxOutputs(hidden, num_classes, 1)
        self.later = nn.ModuleList(
            nn.Sequential(
                BoxHead(channels[0], **shape, side=box_side, convs=box_convs),
                BoxOutputs(hidden, num_classes, 1),
            )
            for _ in ious[1:]
        )

    def _box_losses(
        self,
        levels: list[Tensor],
        boxes: list[Tensor],
        classes: Tensor,
        wanted: Tensor,
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        H, W = levels[0].shape[-2:]
        stride = self.stages.box_roi_pool.strides[0]
        sizes = [(H * stride, W * stride)] * len(boxes)
        total: dict[str, Tensor] = {}
        for number in range(len(self.ious)):
            if number:
                boxes = [_not_empty(some) for some in boxes]
                classes, wanted = self._match(boxes, targets, number)
            logits, offsets = self._stage(levels, boxes, number)
            counts = [len(some) for some in boxes]
            losses = self._stage_losses(logits, offsets, classes, wanted, counts)
            total = {name: total.get(name, 0) + loss for name, loss in losses.items()}
            boxes = self._moved(offsets.detach(), boxes, sizes, number)
        return total

    def _refine(
        self, levels: list[Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        boxes, scores = proposals, []
        for number in range(len(self.ious)):
            logits, offsets = self._stage(levels, boxes, number)
            scores.append(logits.softmax(dim=1))
            boxes = self._moved(offsets, boxes, sizes, number)
        mean = torch.stack(scores).mean(dim=0)
        # As logits of these scores, with boxes that stay: what follows is that of one stage.
        return mean.log(), mean.new_zeros(len(mean), 4 * mean.shape[1]), boxes

    def _stage(
        self, levels: list[Tensor], boxes: list[Tensor], number: int
    ) -> tuple[Tensor, Tensor]:
        """Logits (R, N + 1) and offsets (R, 4) of a stage."""
        pooled = self.stages.box_roi_pool(levels, boxes)
        if pooled.requires_grad:
            share = 1 / len(self.ious)
            pooled = pooled * share + pooled.detach() * (1 - share)  # a share of the gradient
        if number:
            logits, offsets = self.later[number - 1](pooled)
        else:
            logits, offsets = self.stages.box_predictor(self.stages.box_head(pooled))
        return logits.float(), offsets.float()

    def _moved(
        self, offsets: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]], number: int
    ) -> list[Tensor]:
        """The boxes after a stage, cut at the border of their images."""
        moved = self.coders[number].decode_single(offsets, torch.cat(boxes).float())
        parts = moved.split([len(some) for some in boxes])
        return [clip_boxes_to_image(b, size) for b, size in zip(parts, sizes, strict=True)]

    def _match(
        self, boxes: list[Tensor], targets: list[dict[str, Tensor]], number: int
    ) -> tuple[Tensor, Tensor]:
        """Classes (R,), 0 for no object, and offsets (R, 4) to the object that a box is nearest."""
        classes, wanted = [], []
        for some, things in zip(boxes, targets, strict=True):
            if not len(things['boxes']):
                classes.append(things['labels'].new_zeros(len(some)))
                wanted.append(torch.zeros_like(some))
                continue
            overlap, nearest = box_iou(some, things['boxes'].float()).max(dim=1)
            classes.append(things['labels'][nearest] * (overlap >= self.ious[number]))
            matched = things['boxes'][nearest].to(some.dtype)
            wanted.append(self.coders[number].encode_single(matched, some))
        return torch.cat(classes), torch.cat(wanted)


def _not_empty(boxes: Tensor) -> Tensor:
    return boxes[((boxes[:, 2:] - boxes[:, :2]) > _LEAST).all(dim=1)]
