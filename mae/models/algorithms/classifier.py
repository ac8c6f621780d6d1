"""Image classification with a ViT: fine-tuning, whole or partial, and linear probing.

Shapes: B images, C channels, H W pixels, N classes, D width, G members of a grid.
"""

from typing import Any

import torch
from torch import Tensor

from mae.models.algorithms.base import Algorithm
from mae.models.algorithms.parts import Part, build_part
from mae.registry import MODELS


@MODELS.register_module()
class Classifier(Algorithm):
    """An encoder with a head on top.

    Args:
        encoder: config; encodes all patches.
        head: config; tokens (B, N, D) to logits.
        loss: config; logits and labels to a scalar.
        preprocessor: config; uint8 batches to normalised, in training mixed, images.
        trainable_blocks: None trains everything; n trains the last n blocks and what follows
            them (paper figure 9): 0 is the linear probe, 0.5 the MLP of the last block.

    Raises:
        ValueError: `trainable_blocks` is not 0, 0.5 or a whole number up to the depth, or not 0
            with a head that needs a frozen encoder; the preprocessor mixes another
            number of classes than the head has.
    """

    def __init__(
        self,
        encoder: Part,
        head: Part,
        *,
        loss: Part,
        preprocessor: Part,
        trainable_blocks: float | None = None,
    ) -> None:
        super().__init__(encoder, preprocessor)
        facts = {
            'embed_dim': self.encoder.embed_dim,
            'num_prefix_tokens': self.encoder.num_prefix_tokens,
        }
        self.head = build_part(head, facts, key='head')
        self.loss = build_part(loss, key='loss')
        if trainable_blocks != 0 and getattr(self.head, 'needs_frozen_encoder', False):
            raise ValueError(
                f'{type(self.head).__name__} needs a frozen encoder: set model.trainable_blocks=0, '
                f'not {trainable_blocks}'
            )
        if hasattr(self.data_preprocessor, 'expect_classes'):
            self.data_preprocessor.expect_classes(self.num_classes)
        self.freeze(trainable_blocks)

    @property
    def num_classes(self) -> int:
        """N: labels are 0..N-1."""
        number: int = self.head.num_classes
        return number

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        self.encoder.init_weights()
        self.head.init_weights()

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        mode: str = 'tensor',
        **batch: Tensor,
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """Run in one of the modes that mmengine calls.

        Args:
            inputs: normalised images (B, C, H, W).
            labels: int64 (B,), or soft (B, N).
            mode: 'tensor' for logits (B, N), or (B, G, N) of a head with a grid; 'loss' for
                training; 'predict' for evaluation: logits and labels, and `lr_scales` of a grid.
            batch: the rest of the batch, unused.
        """
        tokens: Tensor = self.encoder(inputs)
        logits: Tensor = self.head(tokens) if mode == 'loss' else self._float32_logits(tokens)
        if mode == 'tensor':
            return logits
        if labels is None:
            raise ValueError(f'mode={mode!r} needs labels')
        if len(labels) != len(logits):
            raise ValueError(f'there are {len(labels)} labels for {len(logits)} images')
        if mode == 'loss':
            return {'loss': self.loss(logits, labels)}
        outputs: dict[str, Any] = {'logits': logits, 'labels': labels}
        if hasattr(self.head, 'lr_scales'):
            outputs['lr_scales'] = self.head.lr_scales
        return [outputs]

    def _float32_logits(self, tokens: Tensor) -> Tensor:
        """Logits without autocast: in 16 bits many are equal, and a tie counts as a miss."""
        device = tokens.device.type
        if not torch.is_autocast_enabled(device):
            logits: Tensor = self.head(tokens)
            return logits
        with torch.autocast(device, enabled=False):
            logits = self.head(tokens.float())
        return logits

    def get_lr_scale(self, name: str) -> float:
        """Factor of a parameter's learning rate: 1, unless the head scales it."""
        if name.startswith('head.') and hasattr(self.head, 'get_lr_scale'):
            return float(self.head.get_lr_scale(name.removeprefix('head.')))
        return 1.0
