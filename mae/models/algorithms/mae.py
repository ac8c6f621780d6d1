"""Masked autoencoder (He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners").

Read this file first: `reconstruct_patches` is figure 1 of the paper in code.

Shapes: B images, C channels, H W pixels, L patches, K kept, M predicted (all that is
hidden, unless `masker.predict_ratio` is set), P values in a patch, D width.
"""

import torch
from torch import Tensor

from mae.models.algorithms.base import Algorithm, Part
from mae.models.layers.shapes import check_keys
from mae.models.layers.tokens import take
from mae.models.masking.mask import Mask
from mae.registry import MODELS


@MODELS.register_module()
class MAE(Algorithm):
    """Hides most patches of an image and learns to predict their pixels.

    Args:
        encoder: sees the visible patches.
        decoder: predicts the hidden patches.
        masker: chooses what is hidden.
        target: what is predicted of a hidden patch.
        loss: distance of prediction and target, one number an image.
        preprocessor: from uint8 batches to normalised images.
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
        facts = {
            'encoder_dim': self.encoder.embed_dim,
            'patch_dim': self.encoder.patch_size**2 * self.encoder.in_channels,
            'grid_size': self.encoder.grid_size,
            'num_prefix_tokens': self.encoder.num_prefix_tokens,
        }
        self.decoder = MODELS.build(decoder, default_args=facts)
        self.masker = MODELS.build(masker)
        self.masker.num_keep(self.encoder.grid_size[0] * self.encoder.grid_size[1])
        self.target = MODELS.build(target)
        self.loss = MODELS.build(loss)

    def init_weights(self) -> None:
        """Start all weights as in the paper's appendix A.1."""
        self.encoder.init_weights()
        self.decoder.init_weights()

    def reconstruct_patches(
        self, images: Tensor, keys: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Mask]:
        """Mask, encode, decode, compare.

        Returns:
            The loss of each image (B,), prediction and target (B, M, P), and the mask.

        Raises:
            ValueError: images, keys or noise are not of the shapes that the parts were built for.
        """
        patches = self.encoder.patchify(images)  # B,L,P
        check_keys(keys, len(images))
        mask = self.masker(self.encoder.grid_size, keys, noise)
        latent = self.encoder.encode(patches, mask.ids_keep)  # B,prefix+K,D
        pred = self.decoder(latent, mask.ids_keep, mask.ids_predict)  # B,M,P
        target = self.target(take(patches, mask.ids_predict))  # B,M,P
        return self.loss(pred, target), pred, target, mask

    def no_weight_decay(self) -> set[str]:
        """Tokens, for those who do not decay them in pre-training; the authors do."""
        return {*super().no_weight_decay(), 'decoder.mask_token'}

    def forward(
        self, inputs: Tensor, keys: Tensor, mode: str = 'loss', **batch: Tensor
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """What mmengine calls.

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
            `loss` (scalar), `pred` and `target` (B, L-K, P), `ids_keep` (B, K) and `ids_hide`
            (B, L-K) in ascending order of noise, `mask` (B, L) with 1 for hidden. In training mode
            `masker.predict_ratio` holds, and the first M of `ids_hide` are predicted.
        """
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
