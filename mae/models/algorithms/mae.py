"""Masked autoencoder (He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners").

Read this file first: `reconstruct_patches` is figure 1 of the paper in code.

Shapes: B images, C channels, H W pixels, L patches, K kept, M predicted (all hidden ones, unless
`masker.predict_ratio` is set), P values in a patch, D width, T values predicted of a patch (for
pixels P).
"""

from typing import Any

import torch
from torch import Tensor, nn

from mae.models.algorithms.base import Algorithm
from mae.models.algorithms.parts import (
    Part,
    build_part,
    check_mask,
    check_masker,
    check_target,
    target_dim_of,
)
from mae.models.layers.block import Block
from mae.models.layers.shapes import check_keys
from mae.models.masking.mask import Mask
from mae.registry import MODELS


@MODELS.register_module()
class MAE(Algorithm):
    """Hides most patches of an image and learns to predict their pixels, or another target.

    Args:
        encoder: config; visible patches (B, K, P) to tokens.
        decoder: config; tokens to predictions (B, M, T) of the hidden patches.
        masker: config; grid and keys to a `Mask`.
        target: config; images, patches and mask to the values to predict, (B, M, T).
        loss: config; prediction and target to the loss of each image, (B,).
        preprocessor: config; uint8 batches to normalised images.

    Raises:
        ValueError: a part does not fit the others.
    """

    def __init__(
        self,
        encoder: Part,
        decoder: Part,
        *,
        masker: Part,
        target: Part,
        loss: Part,
        preprocessor: Part,
    ) -> None:
        super().__init__(encoder, preprocessor)
        facts = self._facts_for_parts()
        self.target = build_part(target, facts, key='target')
        facts = {**facts, 'target_dim': target_dim_of(self.target)}
        self.decoder = build_part(decoder, facts, key='decoder')
        self.masker = build_part(masker, key='masker')
        check_masker(self.masker)
        self.masker.num_keep(self.encoder.grid_size[0] * self.encoder.grid_size[1])
        self.loss = build_part(loss, key='loss')

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        self.encoder.init_weights()
        self.decoder.init_weights()

    def reconstruct_patches(
        self, images: Tensor, keys: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Mask]:
        """Mask, encode, decode, compare.

        Returns:
            The loss of each image (B,), prediction and target (B, M, T), and the mask.

        Raises:
            ValueError: images, keys or noise have shapes that the parts were not built for, or the
                target does not have the shape of the prediction.
        """
        patches = self.encoder.patchify(images)  # B,L,P
        check_keys(keys, len(images))
        mask = self.masker(self.encoder.grid_size, keys, noise)
        check_mask(mask, self.masker)
        latent = self.encoder.encode(patches, mask.ids_keep)  # B,prefix+K,D
        pred = self.decoder(latent, mask.ids_keep, mask.ids_predict)  # B,M,T
        target = self.target(images, patches, mask)  # B,M,T
        check_target(target, pred, self.target, self.decoder)
        return self.loss(pred, target), pred, target, mask

    def no_weight_decay(self) -> set[str]:
        """Names of tokens and positions; with `decay_tokens` they decay, as the authors have it."""
        return {*super().no_weight_decay(), 'decoder.mask_token'}

    def forward(
        self, inputs: Tensor, keys: Tensor, mode: str = 'loss', **batch: Tensor
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Run in one of the modes that mmengine calls.

        Args:
            inputs: normalised images (B, C, H, W).
            keys: int64 (B,), the random key of each image.
            mode: 'loss' for training, 'predict' for evaluation.
            batch: the rest of the batch, unused.
        """
        loss = self.reconstruct_patches(inputs, keys)[0]
        if mode == 'loss':
            return {'loss': loss.mean()}
        return [{'reconstruction_loss': loss}]

    def reconstruct(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Reconstruct normalised images.

        Args:
            images: float (B, C, H, W).
            noise: (B, L), the K smallest of each row are kept; drawn from fixed keys if None.

        Returns:
            `loss` (scalar), `pred` and `target` (B, L-K, T), `ids_keep` (B, K) and `ids_hide`
            (B, L-K) in ascending order of noise, `mask` (B, L) with 1 for hidden. In training mode
            `masker.predict_ratio` applies: only the first M of `ids_hide` are predicted.
        """
        self.encoder.check_images(images)
        keys = torch.arange(len(images), device=images.device)
        loss, pred, target, mask = self.reconstruct_patches(images, keys, noise)
        return {
            'loss': loss.mean(),
            'pred': pred,
            'target': target,
            'ids_keep': mask.ids_keep,
            'ids_hide': mask.ids_hide,
            'mask': mask.dense(),
        }

    def pixel_parts(self) -> list[nn.Module]:
        """Target and loss, where their own classes say `is_elementwise`: `compile` fuses them."""
        return [x for x in (self.target, self.loss) if vars(type(x)).get('is_elementwise')]

    def get_fingerprint(self) -> str | None:
        """Identity of the target, such as the hash of a frozen teacher; None if it has none."""
        fingerprint = getattr(self.target, 'fingerprint', None)
        return None if fingerprint is None else str(fingerprint())

    def work_on_host(self) -> str | None:
        """What draws random numbers on the host in a training step; None: nothing."""
        paths = [block.drop_path for block in self.blocks() if isinstance(block, Block)]
        if any(path.rate for path in paths):
            return 'drop path draws'
        preprocessor = self.data_preprocessor
        if any(getattr(preprocessor, name, None) is not None for name in ('mix', 'erase')):
            return 'mixup or erasing draws'
        return None

    def _facts_for_parts(self) -> dict[str, Any]:
        """Facts that constructors of target and decoder may name as keywords."""
        encoder, preprocessor = self.encoder, self.data_preprocessor
        (h, w), p = encoder.grid_size, encoder.patch_size
        return {
            'encoder_dim': encoder.embed_dim,
            'patch_dim': p * p * encoder.in_channels,
            'patch_size': p,
            'in_channels': encoder.in_channels,
            'grid_size': (h, w),
            'img_size': (h * p, w * p),
            'num_prefix_tokens': encoder.num_prefix_tokens,
            'image_mean': getattr(preprocessor, 'mean', None),
            'image_std': getattr(preprocessor, 'std', None),
        }
