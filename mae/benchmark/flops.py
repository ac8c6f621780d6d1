"""Floating-point operations of a model, counted as the literature does.

One multiply-add is 2; only products count, not norms, softmax or GELU. Training is three times
the forward pass. These are the operations that the method asks for (the whole decoder for every
token), not those an implementation gets away with: less work for the same loss is speed.

Shapes: L patches, K kept, N tokens, d width, P values in a patch.
"""

from typing import Any


def block(tokens: int, width: int, mlp_ratio: float = 4.0) -> float:
    """A transformer block: 24 N d^2 + 4 N^2 d with an MLP of ratio 4."""
    return (8 + 4 * mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width


def encoder(model: Any, num_patches: int) -> float:
    """Forward through a `ViTEncoder` that sees `num_patches` patches of an image."""
    patch_dim = model.patch_size**2 * model.in_channels
    tokens = num_patches + model.num_prefix_tokens
    blocks = sum(block(tokens, model.embed_dim, mlp_ratio(b)) for b in model.blocks)
    return blocks + 2 * num_patches * patch_dim * model.embed_dim


def pretraining(model: Any) -> float:
    """Forward of an `MAE` for one image: 19.56 GFLOP for ViT-B/16 at 224 pixels."""
    height, width = model.encoder.grid_size
    L, decoder = height * width, model.decoder
    K, d = model.masker.num_keep(L), decoder.embed_dim
    prefix = model.encoder.num_prefix_tokens
    embed = 2 * (K + prefix) * model.encoder.embed_dim * d
    blocks = sum(block(L + prefix, d, mlp_ratio(b)) for b in decoder.blocks)
    predict = 2 * (L + prefix) * d * decoder.pred.out_features
    return encoder(model.encoder, K) + embed + blocks + predict


def classification(model: Any) -> float:
    """Forward of a `Classifier` for one image."""
    height, width = model.encoder.grid_size
    head = 2 * model.encoder.embed_dim * model.num_classes
    return encoder(model.encoder, height * width) + head


def mlp_ratio(layer: Any) -> float:
    """Hidden width of a block's MLP over its width."""
    return float(layer.mlp.fc1.out_features / layer.mlp.fc1.in_features)
