"""Object detection and instance segmentation with a ViT: Mask R-CNN (He et al. 2017).

Shapes: B images, C channels, H W pixels, G objects, D detections, N classes.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mae.models.algorithms.base import Algorithm
from mae.models.algorithms.parts import Part, build_part, check_taps
from mae.registry import MODELS


@MODELS.register_module()
class Detector(Algorithm):
    """An encoder whose maps become levels, proposals, and detections.

    Args:
        encoder: config; gives maps after chosen blocks (`DenseViTEncoder`).
        rpn: config; levels to proposals.
        roi: config; levels and proposals to detections.
        taps: numbers of the blocks, from 0, whose maps are used.
        preprocessor: config; batches of `collate_dense` to normalised images and objects.
        neck: config; the encoder's maps to levels, with `channels` and `strides`. None leaves the
            map of the one block in `taps` as the only level.
        trainable_blocks: last blocks of the encoder that are trained, see `Algorithm.freeze`; None
            trains all, 0 keeps it frozen.

    Raises:
        ValueError: taps that are no rising numbers of blocks, more than one without a neck, or
            `trainable_blocks` that the encoder has not.
    """

    def __init__(
        self,
        encoder: Part,
        rpn: Part,
        roi: Part,
        *,
        taps: Sequence[int],
        preprocessor: Part,
        neck: Part | None = None,
        trainable_blocks: float | None = None,
    ) -> None:
        super().__init__(encoder, preprocessor)
        self.taps = check_taps(taps, self.encoder.depth)
        width, side = self.encoder.embed_dim, self.encoder.patch_size
        facts: dict[str, Any] = {
            'embed_dim': width,
            'patch_size': side,
            'num_taps': len(self.taps),
        }
        if neck is None:
            if len(self.taps) != 1:
                raise ValueError(
                    f'model.taps must name one block if model.neck is None, not {list(self.taps)}'
                )
            self.neck = None
            facts |= {'channels': (width,), 'strides': (side,)}
        else:
            self.neck = build_part(neck, facts, key='neck')
            facts |= {'channels': self.neck.channels, 'strides': self.neck.strides}
        self.rpn = build_part(rpn, facts, key='rpn')
        self.roi = build_part(roi, facts, key='roi')
        self.freeze(trainable_blocks)

    @property
    def num_classes(self) -> int:
        """N."""
        number: int = self.roi.num_classes
        return number

    def init_weights(self) -> None:
        """Start all weights: the encoder as in pre-training, the rest as each part says."""
        for part in (self.encoder, self.neck, self.rpn, self.roi):
            if part is not None:
                part.init_weights()

    def forward(
        self,
        inputs: Tensor,
        objects: list[dict[str, Tensor]] | None = None,
        mode: str = 'tensor',
        **batch: Any,
    ) -> list[Tensor] | dict[str, Tensor] | list[dict[str, Any]]:
        """What mmengine calls.

        Args:
            inputs: normalised images (B, C, H, W).
            objects: `boxes` (G, 4), `classes`, `crowd` (G,) and `masks` (G, H, W) of each image.
            mode: 'tensor' for the levels; 'loss' for training; 'predict' for evaluation: for each
                image `detections` at the original size, `id`, `num_classes`, and `objects` where
                they are given.
            batch: the rest of the batch: `shapes` and `originals` (B, 2), `ids` (B,), and `keys`
                (B,), which choose the samples of the losses.

        Raises:
            ValueError: mode='loss' without objects.
        """
        levels = self.levels(inputs)
        if mode == 'tensor':
            return levels
        canvas = (inputs.shape[-2], inputs.shape[-1])
        if mode == 'loss':
            if objects is None:
                raise ValueError("mode='loss' needs objects")
            # As in detectron2, crowds are left out: what lies there is background in training.
            real = [{k: v[~o['crowd']] for k, v in o.items()} for o in objects]
            sizes = [canvas] * len(inputs)
            keys = batch.get('keys')
            proposals, losses = self.rpn(levels, sizes, canvas, real, keys)
            return {**losses, **self.roi.losses(levels, proposals, real, keys)}
        shapes = batch.get('shapes')
        sizes = [canvas] * len(inputs) if shapes is None else [(h, w) for h, w in shapes.tolist()]
        proposals, _ = self.rpn(levels, sizes, canvas)
        found = self.roi.detect(levels, proposals, sizes)
        return self._at_original(found, sizes, objects, batch)

    def levels(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) each, from the finest: the neck's, or the encoder's map without one."""
        maps: list[Tensor] = self.encoder.maps(images, self.taps)
        return maps if self.neck is None else self.neck(maps)

    def _at_original(
        self,
        found: list[dict[str, Tensor]],
        sizes: list[tuple[int, int]],
        objects: list[dict[str, Tensor]] | None,
        batch: dict[str, Any],
    ) -> list[dict[str, Any]]:
        originals = batch['originals'].tolist() if 'originals' in batch else sizes
        ids = batch['ids'].tolist() if 'ids' in batch else range(len(sizes))
        outputs: list[dict[str, Any]] = []
        for n, (result, size, original) in enumerate(zip(found, sizes, originals, strict=True)):
            y, x = original[0] / size[0], original[1] / size[1]
            result['boxes'] = result['boxes'] * result['boxes'].new_tensor([x, y, x, y])
            if 'mask_shares' in result:
                shares = result.pop('mask_shares')
                result['masks'] = self.roi.paste(shares, result['boxes'], tuple(original))
            output: dict[str, Any] = {
                'detections': result,
                'id': ids[n],
                'num_classes': self.num_classes,
            }
            outputs.append(output if objects is None else {**output, 'objects': objects[n]})
        return outputs
