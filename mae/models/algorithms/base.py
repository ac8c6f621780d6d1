"""What every algorithm offers the rest of the toolbox: features, layer depths, fitting of weights.

Shapes: B images, C channels, H W pixels, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mae.models.algorithms.parts import Part, build_part
from mae.models.layers.attention import Attention
from mae.models.layers.attention_backends import try_backend
from mae.models.layers.block import Block
from mae.models.layers.cross import CrossBlock
from mae.models.layers.pos_embed import describe_resampling
from mae.models.layers.tokens import Pool
from mae.utils.text import counted

# Facts that no weight's shape reveals: name of the fact, then the part and its attribute.
_FACTS = {
    'num_heads': ('encoder', 'num_heads'),
    'norm_eps': ('encoder', 'norm_eps'),
    'grid_size': ('encoder', 'grid_size'),
    'decoder_num_heads': ('decoder', 'num_heads'),
    'norm_pix': ('target', 'norm_pix'),
    'pool': ('head', 'pool'),
}


class Algorithm(BaseModel):
    """A model around one encoder.

    Args:
        encoder: config of the encoder.
        preprocessor: config of what turns uint8 batches into normalised images.
    """

    def __init__(self, encoder: Part, preprocessor: Part) -> None:
        super().__init__(data_preprocessor=build_part(preprocessor, key='preprocessor'))
        self.encoder = build_part(encoder, key='encoder')
        self.trainable_blocks: float | None = None
        self._frozen: list[nn.Module] = []

    def train(self, mode: bool = True) -> 'Algorithm':
        """Like `nn.Module.train`, but frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def freeze(self, trainable_blocks: float | None) -> None:
        """Freeze the encoder but for its last blocks.

        Args:
            trainable_blocks: None trains everything; n trains the last n blocks and what follows
                them (paper figure 9): 0 is the linear probe, 0.5 the MLP of the last block.

        Raises:
            ValueError: it is not 0, 0.5 or a whole number up to the depth.
        """
        self.trainable_blocks = trainable_blocks
        if trainable_blocks is None:
            return
        depth = self.encoder.depth
        if trainable_blocks not in (0.5, *range(depth + 1)):
            raise ValueError(
                f'model.trainable_blocks must be 0, 0.5 or a whole number up to {depth}, '
                f'not {trainable_blocks}'
            )
        self.encoder.requires_grad_(False)
        if trainable_blocks == 0:
            self._frozen = [self.encoder]
            return
        first = depth - int(trainable_blocks)
        trained = [*self.encoder.blocks[first:], self.encoder.norm]
        if trainable_blocks == 0.5:
            last = self.encoder.blocks[-1]
            trained += [last.norm2, last.mlp]
        for module in trained:
            module.requires_grad_(True)
        self._frozen = list(self.encoder.blocks[: depth - round(trainable_blocks + 0.1)])

    def extract_features(self, images: Tensor, pool: Pool = 'avg') -> Tensor:
        """Features of whole normalised images (B, C, H, W): (B, D), or all tokens.

        Args:
            images: normalised float (B, C, H, W).
            pool: 'avg' of the patch tokens, 'cls' token, or 'tokens' for all of them.
        """
        features: Tensor = self.encoder.extract_features(images, pool)
        return features

    def adapt_weights(
        self, weights: dict[str, Tensor], grid_size: tuple[int, int] | None = None
    ) -> list[str]:
        """Fit weights of another image size, patch size or number of channels, in place.

        Args:
            weights: a state dict in this toolbox's names; changed in place.
            grid_size: (h, w) of the patches they were trained with; None if unknown.

        Returns:
            A line for each change.

        Raises:
            ValueError: they cannot be fitted.
        """
        lines = []
        for part in ('encoder', 'decoder'):
            name, module = f'{part}.pos_embed', getattr(self, part, None)
            old = weights.get(name)
            if old is None or old.ndim != 3 or old.shape[-1] != getattr(module, 'embed_dim', None):
                continue
            antialias = getattr(module, 'pos_antialias', True)
            new = weights[name] = self.encoder.fit_pos_embed(old, grid_size, antialias=antialias)
            if not getattr(self.encoder, 'load_pos', True):
                lines.append(f"{name} stays sine-cosine: the file's stay out")
            elif new is not old:
                lines.append(describe_resampling(name, old, new, antialias))
        if weights.get('encoder.cls_token') is not None and not self._has_cls_token():
            del weights['encoder.cls_token']
            lines.append('encoder.cls_token stays out: the encoder has none')
        name = 'encoder.patch_embed.proj.weight'
        old = weights.get(name)
        if old is not None and old.ndim == 4 and len(old) == self.encoder.embed_dim:
            new = weights[name] = self.encoder.fit_patch_weight(old)
            if new.shape != old.shape:
                C, p = old.shape[1], old.shape[2]
                lines.append(
                    f'{name} fitted from {counted(C, "channel")} and {p}x{p} patches to '
                    f'{new.shape[1]} and {new.shape[2]}x{new.shape[3]}'
                )
        return lines

    def get_facts(self) -> dict[str, Any]:
        """Facts of the model that no weight's shape reveals, to be compared with a file's."""
        facts = {
            fact: getattr(getattr(self, part, None), name, None)
            for fact, (part, name) in _FACTS.items()
        }
        facts['grid_size'] = getattr(self.encoder, 'pos_grid_size', facts['grid_size'])
        return facts | {'target': type(self.target).__name__ if hasattr(self, 'target') else None}

    def _has_cls_token(self) -> bool:
        return getattr(self.encoder, 'num_prefix_tokens', 1) > 0

    def get_fingerprint(self) -> str | None:
        """Hash of what else training depends on, such as a frozen teacher; None without one."""
        return None

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Layer of a parameter for layer-wise learning-rate decay, and number of the last layer."""
        depth: tuple[int, int] = self.encoder.get_layer_depth(name.removeprefix('encoder.'))
        return depth if name.startswith('encoder.') else (depth[1], depth[1])

    def set_img_size(self, img_size: int | tuple[int, int] | None) -> None:
        """From now on shrink the images of every batch, on the device, before they are normalised.

        Weights stay as they are; the positions of the smaller grid are resampled at each use.

        Args:
            img_size: in pixels, smaller than `encoder.img_size`; None ends the shrinking.

        Raises:
            ValueError: not smaller, no whole number of patches, too few of them to mask, or a
                target that cannot follow.
        """
        full: tuple[int, int] = self.encoder.full_img_size
        used: Any = full if img_size is None else img_size
        used = (used, used) if isinstance(used, int) else used
        if not isinstance(used, Sequence) or [type(side) for side in used] != [int, int]:
            raise ValueError(
                f'img_size must be a whole number of pixels, two of them or None, not {img_size!r}'
            )
        used = tuple(used)
        if img_size is not None and not all(0 < a < b for a, b in zip(used, full, strict=True)):
            raise ValueError(f'images of {full[0]}x{full[1]} cannot be shrunk to {img_size}')
        self.encoder.set_img_size(used)
        self.data_preprocessor.set_img_size(full, used)
        if hasattr(self, 'decoder'):
            self.decoder.set_grid_size(self.encoder.grid_size)
        if hasattr(getattr(self, 'target', None), 'set_img_size'):
            self.target.set_img_size(used)
        if hasattr(self, 'masker'):
            self.masker.num_keep(self.encoder.grid_size[0] * self.encoder.grid_size[1])

    def blocks(self) -> list[Block | CrossBlock]:
        """The transformer blocks, in the order of their parameters; `compile` compiles each."""
        return [module for module in self.modules() if isinstance(module, Block | CrossBlock)]

    def check_attention(self, device: torch.device, dtype: torch.dtype) -> None:
        """Refuse an `attention_backend` before the first step.

        Args:
            device: on which the blocks will run.
            dtype: of their products.

        Raises:
            ValueError: names the part whose backend the device lacks for these types and widths.
        """
        for name, module in self.named_modules():
            if isinstance(module, Attention) and module.backend != 'auto':
                head_dim = module.qkv.in_features // module.num_heads
                try:
                    try_backend(module.backend, head_dim, device, dtype)
                except ValueError as error:
                    raise ValueError(f'model.{name.partition(".")[0]}.{error}') from error

    def no_weight_decay(self) -> set[str]:
        """Names of the tokens and positions, which fine-tuning does not decay."""
        return {f'encoder.{name}' for name in self.encoder.no_weight_decay()}
