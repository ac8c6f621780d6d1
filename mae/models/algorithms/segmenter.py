"""Semantic segmentation with a ViT: encoder, neck, head, and inference at any size.

Shapes: B images, C channels, H W pixels, N classes, D width, h w grid.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mae.models.algorithms.base import Algorithm
from mae.models.algorithms.parts import Part, build_part, check_taps
from mae.registry import MODELS

_MOST_LOGITS = 2**28  # 1 GiB of float32: a larger map is made of logits strip by strip


@MODELS.register_module()
class Segmenter(Algorithm):
    """An encoder whose maps become a class for each pixel.

    Args:
        encoder: config; gives maps after chosen blocks (`DenseViTEncoder`).
        head: config; levels to logits (B, N, h, w).
        taps: numbers of the blocks, from 0, whose maps are used.
        loss: config; logits (B, N, h, w) and maps (B, H, W) to a scalar.
        preprocessor: config; batches of `collate_dense` to normalised images and maps.
        neck: config; the encoder's maps to levels. None hands them on.
        auxiliary: config of a second head, for training alone.
        auxiliary_weight: of its loss.
        window: side in pixels of the windows that inference slides over larger images, as trained;
            None takes images whole.
        stride: step of the windows in pixels; needed with `window`.
        scales: sizes of the image, as factors, whose predictions are averaged.
        flip: also average with the mirrored image.
        trainable_blocks: last blocks of the encoder that are trained, see `Algorithm.freeze`; None
            trains all, 0 keeps it frozen.

    Raises:
        ValueError: taps that are no rising numbers of blocks, a window below a patch or without a
            stride, no scale or one that is not positive, an auxiliary head of other classes or a
            negative weight of it, or `trainable_blocks` that the encoder has not.
    """

    def __init__(
        self,
        encoder: Part,
        head: Part,
        *,
        taps: Sequence[int],
        loss: Part,
        preprocessor: Part,
        neck: Part | None = None,
        auxiliary: Part | None = None,
        auxiliary_weight: float = 0.4,
        window: int | None = None,
        stride: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        trainable_blocks: float | None = None,
    ) -> None:
        super().__init__(encoder, preprocessor)
        self.taps = check_taps(taps, self.encoder.depth)
        facts: dict[str, Any] = {
            'embed_dim': self.encoder.embed_dim,
            'patch_size': self.encoder.patch_size,
            'num_taps': len(self.taps),
        }
        self.neck = None if neck is None else build_part(neck, facts, key='neck')
        facts['channels'] = (
            (self.encoder.embed_dim,) * len(self.taps) if self.neck is None else self.neck.channels
        )
        self.head = build_part(head, facts, key='head')
        self.auxiliary = (
            None if auxiliary is None else build_part(auxiliary, facts, key='auxiliary')
        )
        self.auxiliary_weight = auxiliary_weight
        self.loss = build_part(loss, key='loss')
        if hasattr(self.data_preprocessor, 'limit_labels') and hasattr(self.loss, 'ignore_index'):
            self.data_preprocessor.limit_labels(self.num_classes, self.loss.ignore_index)
        self._check_auxiliary()
        _check_views(window, stride, scales, self.encoder.patch_size)
        self.window = window
        self.stride = stride
        self.scales = tuple(scales)
        self.flip = flip
        self.freeze(trainable_blocks)

    @property
    def num_classes(self) -> int:
        """N."""
        number: int = self.head.num_classes
        return number

    def _check_auxiliary(self) -> None:
        if self.auxiliary_weight < 0:
            raise ValueError(
                f'model.auxiliary_weight must not be negative, not {self.auxiliary_weight}'
            )
        aside = getattr(self.auxiliary, 'num_classes', self.num_classes)
        if aside != self.num_classes:
            raise ValueError(
                f'model.auxiliary.num_classes is {aside}, model.head.num_classes {self.num_classes}'
            )

    def init_weights(self) -> None:
        """Start all weights: the encoder as in pre-training, the rest as each part says."""
        for part in (self.encoder, self.neck, self.head, self.auxiliary):
            if part is not None:
                part.init_weights()

    def forward(
        self,
        inputs: Tensor,
        maps: Sequence[Tensor] | None = None,
        mode: str = 'tensor',
        **batch: Any,
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """What mmengine calls.

        Args:
            inputs: normalised images (B, C, H, W).
            maps: int64 (H, W) of each image: in training of the images' size, in evaluation of any.
            mode: 'tensor' for logits (B, N, h, w); 'loss' for training; 'predict' for evaluation:
                `pred_maps` of the size of each map, `maps` and `num_classes`.
            batch: the rest of the batch: `originals` (B, 2), the size of a prediction without maps.

        Raises:
            ValueError: a mode other than 'tensor' without maps.
        """
        if mode == 'tensor':
            return self.logits(inputs)
        if mode == 'loss':
            if maps is None:
                raise ValueError("mode='loss' needs maps")
            return self._losses(inputs, torch.stack(list(maps)))
        sizes = batch['originals'].tolist() if maps is None else [m.shape for m in maps]
        logits = self.predict_logits(inputs)
        pred = [_labels(logits[n : n + 1], tuple(size)) for n, size in enumerate(sizes)]
        output: dict[str, Any] = {'pred_maps': pred, 'num_classes': self.num_classes}
        return [output if maps is None else {**output, 'maps': list(maps)}]

    def levels(self, images: Tensor) -> list[Tensor]:
        """Maps of features (B, D, h, w), through the neck where there is one."""
        maps: list[Tensor] = self.encoder.maps(images, self.taps)
        return maps if self.neck is None else self.neck(maps)

    def logits(self, images: Tensor) -> Tensor:
        """(B, N, h, w) of images (B, C, H, W) of whole patches."""
        logits: Tensor = self.head(self.levels(images))
        return logits

    def predict_logits(self, images: Tensor) -> Tensor:
        """Logits, or with several views mean probabilities, (B, N, H, W) of images of any size."""
        if self.scales == (1.0,) and not self.flip:
            return self._slide(images)
        H, W = images.shape[-2:]
        total = None
        for scale in self.scales:
            size = (round(H * scale), round(W * scale))
            view = F.interpolate(images, size, mode='bilinear', align_corners=False)
            for turned in (False, True) if self.flip else (False,):
                logits = self._slide(view.flip(-1) if turned else view)
                logits = _resize(logits.flip(-1) if turned else logits, (H, W))
                share = logits.softmax(dim=1)
                total = share if total is None else total + share
        assert total is not None
        return total / (len(self.scales) * (1 + self.flip))

    def _slide(self, images: Tensor) -> Tensor:
        """(B, N, H, W): the mean of the logits of all windows that contain a pixel."""
        H, W = images.shape[-2:]
        if self.window is None or self.stride is None:
            return self._whole(images)
        height, width = min(self.window, H), min(self.window, W)
        total = images.new_zeros(len(images), self.num_classes, H, W)
        count = images.new_zeros(1, 1, H, W)
        for top in _starts(H, height, self.stride):
            for left in _starts(W, width, self.stride):
                part = (..., slice(top, top + height), slice(left, left + width))
                total[part] += self._whole(images[part])
                count[part] += 1
        return total / count

    def _whole(self, images: Tensor) -> Tensor:
        """(B, N, H, W) at once: logits of the whole patches, stretched to the size of the image."""
        size = images.shape[-2:]
        p = self.encoder.patch_size
        rows, columns = (side // p * p for side in size)
        if not rows or not columns:
            raise ValueError(f'an image of {size[0]}x{size[1]} holds no patch of {p}x{p}')
        return _resize(self.logits(images[..., :rows, :columns]), size)

    def _losses(self, images: Tensor, maps: Tensor) -> dict[str, Tensor]:
        levels = self.levels(images)
        losses = {'loss': self.loss(self.head(levels), maps)}
        if self.auxiliary is not None:
            aside = self.loss(self.auxiliary(levels), maps)
            losses['loss'] = losses['loss'] + self.auxiliary_weight * aside
        return losses


def _check_views(
    window: int | None, stride: int | None, scales: Sequence[float], patch_size: int
) -> None:
    """Refuse windows and scales at which inference would fail, hours into a run."""
    if window is not None and window < patch_size:
        raise ValueError(f'model.window must be at least {patch_size}, a patch, not {window}')
    if window is not None and (stride is None or not 1 <= stride <= window):
        raise ValueError(f'model.stride must lie in 1..{window}, the window, not {stride}')
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f'model.scales must be positive factors, one or more, not {list(scales)}')


def _starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along an axis: every stride, the last one at the border."""
    number = max(-(-(side - window) // stride), 0) + 1
    return [min(n * stride, side - window) for n in range(number)]


def _resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(logits, tuple(size), mode='bilinear', align_corners=False)


def _labels(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The likeliest class of each pixel of logits (1, N, h, w) at another size, (H, W)."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits[0].argmax(dim=0)
    H, W = size
    rows = max(1, _MOST_LOGITS // (logits.shape[1] * W))
    if rows >= H:
        return _resize(logits, size)[0].argmax(dim=0)
    strips = [_resized_rows(logits, (H, W), top, min(top + rows, H)) for top in range(0, H, rows)]
    return torch.cat([strip[0].argmax(dim=0) for strip in strips])


def _resized_rows(logits: Tensor, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Rows top..bottom of what `_resize` gives, without the other rows."""
    h = logits.shape[-2]
    at = (torch.arange(top, bottom, device=logits.device) + 0.5) * (h / size[0]) - 0.5
    at = at.clamp(min=0)
    above = at.long().clamp(max=h - 1)
    share = (at - above)[:, None].to(logits.dtype)
    below = (above + 1).clamp(max=h - 1)
    rows = logits[..., above, :] * (1 - share) + logits[..., below, :] * share
    return _resize(rows, (bottom - top, size[1]))
