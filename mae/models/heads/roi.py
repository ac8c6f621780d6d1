"""The second stage of Mask R-CNN: classes, boxes and masks of proposals (He et al. 2017).

Shapes: B images, R proposals of all images, G objects of an image, D detections, N classes, C
channels, M side of a mask.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_align

from mae.models.heads.roi_pool import RoIPool
from mae.models.heads.rpn import BoxLoss, check_box_loss, offset_loss
from mae.models.heads.sampling import KeyedSampler, image_weights
from mae.models.layers.conv import ConvNorm, Norm, check_sizes, init_convs
from mae.registry import MODELS

_MASK_SIDE = 14  # of the pooled features
_STREAM = 0x726F69  # b'roi'


@MODELS.register_module()
class RoIHead(nn.Module):
    """Boxes by convolutions and a linear layer, masks by four convolutions.

    Proposals are matched and decoded by torchvision; losses and pooling are the recipes'. The
    losses are means over the samples of an image, and over the images.

    Args:
        num_classes: N.
        with_masks: False detects boxes alone.
        width: channels of the convolutions.
        box_side: height and width of a box's pooled features; 1 is their mean over the box.
        box_convs: 3x3 convolutions of these before the linear layer.
        hidden: width of the linear layer.
        norm: after each convolution, see `mae.models.layers.conv.norm_of`.
        samples: proposals of an image that the losses are computed of, a quarter of them objects
            at most.
        box_loss: 'l1' of the recipes, or torchvision's 'smooth'.
        min_score: of a detection.
        max_detections: of an image.
        aligned: see `RoIPool`.
        channels: of each level, which the detector states, like `strides`.
        strides: pixels of the image for a pixel of each level.

    Raises:
        ValueError: fewer than one class, channel, pooled feature, sample or detection, a negative
            number of convolutions, or an unknown loss.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        with_masks: bool = True,
        width: int = 256,
        box_side: int = 7,
        box_convs: int = 4,
        hidden: int = 1024,
        norm: Norm = 'channels',
        samples: int = 512,
        box_loss: BoxLoss = 'l1',
        min_score: float = 0.05,
        max_detections: int = 100,
        aligned: bool = True,
        channels: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f'roi.num_classes must be at least 1, not {num_classes}')
        sizes = {'width': width, 'box_side': box_side, 'hidden': hidden, 'samples': samples}
        check_sizes({**sizes, 'max_detections': max_detections})
        if box_convs < 0:
            raise ValueError(f'box_convs must be at least 0, not {box_convs}')
        self.num_classes = num_classes
        self.with_masks = with_masks
        self.aligned = aligned
        self.box_loss = check_box_loss('roi', box_loss)
        pooled = tuple(strides[:4])  # not the coarsest level, which only the proposals use
        self.stages = RoIHeads(
            RoIPool(box_side, pooled, aligned=aligned),
            BoxHead(channels[0], width, hidden, norm, side=box_side, convs=box_convs),
            BoxOutputs(hidden, num_classes, num_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=samples,
            positive_fraction=0.25,
            bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=min_score,
            nms_thresh=0.5,
            detections_per_img=max_detections,
        )
        self.stages.fg_bg_sampler = KeyedSampler(samples, 0.25, _STREAM)
        if with_masks:
            self.mask_pool = RoIPool(_MASK_SIDE, pooled, aligned=aligned)
            self.mask_head = _MaskHead(channels[0], width, num_classes, norm)

    def init_weights(self) -> None:
        """Kaiming normal, the outputs nearly at zero."""
        init_convs(self)
        for layer in self.modules():
            if isinstance(layer, BoxHead):
                linear = layer[-2]
                assert isinstance(linear, nn.Linear)
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
            elif isinstance(layer, BoxOutputs):
                layer.init_weights()
        if self.with_masks:
            nn.init.normal_(self.mask_head.classify.weight, std=0.001)

    def losses(
        self,
        levels: Sequence[Tensor],
        proposals: list[Tensor],
        objects: list[dict[str, Tensor]],
        keys: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of sampled proposals.

        Args:
            levels: (B, C, H, W) each, from the finest.
            proposals: (R_b, 4) of each image.
            objects: `boxes` (G, 4), `classes` (G,), and `masks` bool (G, H, W) of each image.
            keys: int64 (B,), which choose the samples; None draws them from torch's generator.
        """
        self.stages.fg_bg_sampler.keys = keys
        used = list(levels[:4])
        targets = [
            {'boxes': things['boxes'], 'labels': things['classes'] + 1} for things in objects
        ]  # 0 is no object
        boxes, matched, labels, wanted = self.stages.select_training_samples(proposals, targets)
        losses = self._box_losses(used, boxes, torch.cat(labels), torch.cat(wanted), targets)
        if self.with_masks:
            losses['loss_mask'] = self._mask_loss(used, boxes, matched, labels, objects)
        return losses

    def detect(
        self, levels: Sequence[Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections of each image, from the highest score down.

        Args:
            levels: (B, C, H, W) each, from the finest.
            proposals: (R_b, 4) of each image.
            sizes: (height, width) of the part of each image that is picture.

        Returns:
            dict(boxes (D, 4), scores (D,), classes (D,), and mask_shares (D, M, M): of the box's
            pixels, the probability to belong to the object).
        """
        used = list(levels[:4])
        boxes, scores, labels = self.stages.postprocess_detections(
            *self._refine(used, proposals, sizes), sizes
        )
        results = [
            {'boxes': b, 'scores': s, 'classes': c - 1}
            for b, s, c in zip(boxes, scores, labels, strict=True)
        ]
        if self.with_masks:
            shares = self.mask_head(self.mask_pool(used, boxes)).float().sigmoid()  # R,N,M,M
            picked = torch.cat(labels) - 1
            of_class = shares[torch.arange(len(picked), device=picked.device), picked]
            for result, share in zip(results, of_class.split([len(b) for b in boxes]), strict=True):
                result['mask_shares'] = share
        return results

    def paste(self, shares: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """See `paste_masks`."""
        return paste_masks(shares, boxes, size)

    def _box_losses(
        self,
        levels: list[Tensor],
        boxes: list[Tensor],
        classes: Tensor,
        wanted: Tensor,
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Of the classes (R,) and offsets (R, 4) of sampled boxes."""
        logits, offsets = self._score(levels, boxes)
        counts = [len(some) for some in boxes]
        return self._stage_losses(logits, offsets, classes, wanted, counts)

    def _stage_losses(
        self,
        logits: Tensor,
        offsets: Tensor,
        classes: Tensor,
        wanted: Tensor,
        counts: Sequence[int],
    ) -> dict[str, Tensor]:
        """Means over the boxes of an image, of which `counts` has the numbers, then the images."""
        found = torch.where(classes > 0)[0]
        each = offsets.view(len(offsets), -1, 4)  # one for all classes, or one for each
        chosen = each[found, classes[found] if each.shape[1] > 1 else 0]
        weights = image_weights(counts, logits)
        return {
            'loss_class': (F.cross_entropy(logits, classes, reduction='none') * weights).sum(),
            'loss_box': offset_loss(self.box_loss, chosen, wanted[found], weights[found]),
        }

    def _refine(
        self, levels: list[Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Logits, offsets for each class, and the boxes that these move."""
        return *self._score(levels, proposals), proposals

    def _score(self, levels: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        features = self.stages.box_head(self.stages.box_roi_pool(levels, boxes))
        logits, offsets = self.stages.box_predictor(features)
        return logits.float(), offsets.float()

    def _mask_loss(
        self,
        levels: list[Tensor],
        boxes: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        objects: list[dict[str, Tensor]],
    ) -> Tensor:
        """Binary cross entropy of the masks of the proposals that are objects."""
        are = [torch.where(some > 0)[0] for some in labels]
        some_boxes = [b[a] for b, a in zip(boxes, are, strict=True)]
        logits: Tensor = self.mask_head(self.mask_pool(levels, some_boxes)).float()  # R,N,M,M
        classes = torch.cat([some[a] for some, a in zip(labels, are, strict=True)]) - 1
        wanted = [
            mask_targets(things['masks'], m[a], b, logits.shape[-1], aligned=self.aligned)
            for things, m, a, b in zip(objects, matched, are, some_boxes, strict=True)
        ]
        own = logits[torch.arange(len(classes), device=classes.device), classes]  # R,M,M
        each = F.binary_cross_entropy_with_logits(own, torch.cat(wanted), reduction='none')
        weights = image_weights([len(some) for some in some_boxes], own)
        return (each.mean(dim=(1, 2)) * weights).sum()


def mask_targets(
    masks: Tensor, numbers: Tensor, boxes: Tensor, side: int, *, aligned: bool = True
) -> Tensor:
    """What an object's mask is within a box: 0 or 1, float (R, M, M).

    Args:
        masks: bool (G, H, W).
        numbers: of the object of each box, (R,).
        boxes: (R, 4) in pixels.
        side: M.
        aligned: see `RoIPool`; torchvision's, not aligned, keeps the shares between 0 and 1.
    """
    rois = torch.cat([numbers[:, None].to(boxes.dtype), boxes], dim=1)
    if not len(rois):
        return boxes.new_zeros(0, side, side)
    shares: Tensor = roi_align(
        masks[:, None].to(boxes.dtype), rois, side, 1.0, 0 if aligned else -1, aligned
    )
    shares = shares[:, 0]
    return (shares >= 0.5).to(boxes.dtype) if aligned else shares


def paste_masks(shares: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks within boxes, (D, M, M), laid into the image: bool (D, H, W).

    Each pixel of the image takes the share at its centre, bilinearly; .5 and more is the object.
    """
    height, width = size
    if not len(boxes):
        return shares.new_zeros(0, height, width, dtype=torch.bool)
    left, top, right, bottom = boxes.float().unbind(1)
    xs = (torch.arange(width, device=boxes.device) + 0.5)[None]
    ys = (torch.arange(height, device=boxes.device) + 0.5)[None]
    x = 2 * (xs - left[:, None]) / (right - left)[:, None].clamp(min=1e-6) - 1  # D,W
    y = 2 * (ys - top[:, None]) / (bottom - top)[:, None].clamp(min=1e-6) - 1  # D,H
    grid = torch.stack(
        [x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1
    )
    pasted = F.grid_sample(shares[:, None].float(), grid, align_corners=False)
    return pasted[:, 0] >= 0.5


class BoxHead(nn.Sequential):
    """Convolutions and a linear layer: pooled features (R, C, S, S) to (R, `hidden`)."""

    def __init__(
        self, channels: int, width: int, hidden: int, norm: Norm, *, side: int, convs: int
    ) -> None:
        widths = (channels, *(width,) * convs)
        super().__init__(
            *(ConvNorm(a, b, 3, norm) for a, b in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(widths[-1] * side**2, hidden),
            nn.ReLU(inplace=True),
        )


class BoxOutputs(nn.Module):
    """Logits of N classes and of none, and four offsets for each of `num_boxes` boxes."""

    def __init__(self, hidden: int, num_classes: int, num_boxes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(hidden, num_classes + 1)
        self.offsets = nn.Linear(hidden, 4 * num_boxes)

    def init_weights(self) -> None:
        """Nearly at zero."""
        for linear, std in ((self.classes, 0.01), (self.offsets, 0.001)):
            nn.init.normal_(linear.weight, std=std)
            nn.init.zeros_(linear.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.classes(features), self.offsets(features)


class _MaskHead(nn.Module):
    def __init__(self, channels: int, width: int, num_classes: int, norm: Norm) -> None:
        super().__init__()
        widths = (channels, *(width,) * 4)
        self.convs = nn.Sequential(*(ConvNorm(a, b, 3, norm) for a, b in pairwise(widths)))
        self.enlarge = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classify(F.relu(self.enlarge(self.convs(x))))
        return out
