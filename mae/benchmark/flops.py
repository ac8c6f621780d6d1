"""Floating-point operations of a model, counted as the literature does.

One multiply-add is 2; only products count, not norms, softmax or GELU. The backward pass is twice
the forward pass, less the gradient that the pixels do not need. These are the operations of the
method as published (every patch projected, the whole decoder for every token), not those that an
implementation gets away with: less work for the same loss is speed.

Shapes: L patches, K kept, N tokens, d width, P values in a patch.
"""

from typing import Any


def block(tokens: int, width: int, mlp_ratio: float = 4.0) -> float:
    """A transformer block: 24 N d^2 + 4 N^2 d with an MLP of ratio 4."""
    return (8 + 4 * mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width


def projection(encoder: Any) -> float:
    """The patch projection of a whole image."""
    height, width = encoder.grid_size
    patch_dim = encoder.patch_size**2 * encoder.in_channels
    return float(2 * height * width * patch_dim * encoder.embed_dim)


def blocks(layers: Any, tokens: int) -> float:
    """All blocks of an encoder or decoder."""
    return sum(block(tokens, layer.attn.proj.out_features, mlp_ratio(layer)) for layer in layers)


def pretraining(model: Any) -> float:
    """Forward of an `MAE` for one image: 19.56 GFLOP for ViT-B/16 at 224 pixels."""
    encoder, decoder = model.encoder, model.decoder
    height, width = encoder.grid_size
    K = model.masker.num_keep(height * width) + encoder.num_prefix_tokens
    N = height * width + encoder.num_prefix_tokens
    embed: float = 2 * K * encoder.embed_dim * decoder.embed_dim
    predict = 2 * N * decoder.embed_dim * decoder.pred.out_features
    total: float = (
        projection(encoder)
        + blocks(encoder.blocks, K)
        + embed
        + blocks(decoder.blocks, N)
        + predict
    )
    return total


def classification(model: Any) -> float:
    """Forward of a `Classifier` for one image."""
    encoder = model.encoder
    head: float = 2 * encoder.embed_dim * model.num_classes
    return features(encoder) + head


def features(encoder: Any) -> float:
    """Forward of a `ViTEncoder` that sees every patch."""
    height, width = encoder.grid_size
    N = height * width + encoder.num_prefix_tokens
    return projection(encoder) + blocks(encoder.blocks, N)


def training(forward: float, encoder: Any) -> float:
    """Forward and backward of a model around `encoder`, from its forward."""
    return 3 * forward - projection(encoder)


def mlp_ratio(layer: Any) -> float:
    """Hidden width of a block's MLP over its width."""
    return float(layer.mlp.fc1.out_features / layer.mlp.fc1.in_features)
