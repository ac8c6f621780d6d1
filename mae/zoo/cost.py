"""What a model costs: its parameters, and the floating-point operations of one image.

`measure_cost` counts the products that our implementation runs. The functions below it count those
of the method as published (every patch projected, the whole decoder for every token), as the
literature does and the benchmark reports: less work for the same loss is speed. In both, one
multiply-add is 2, and only products count, not norms, softmax or GELU.

Shapes: B images, C channels, H W pixels, L patches, K kept, N tokens, D width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """Figures of one model.

    Attributes:
        parameters: number of parameters, frozen ones included.
        flops: operations of one image forward through what runs in training: the visible patches,
            the
            decoder; a multiply-add counts as 2, and only matrix products count.
        training_flops: forward and backward.
    """

    parameters: int
    flops: int
    training_flops: int


def measure_cost(model: Any) -> Cost:
    """Count what one training step of a model on the `meta` device would multiply at most.

    Args:
        model: an algorithm, built under `torch.device('meta')`; takes `inputs`, `keys`, `labels`
            and `mode='loss'`, and has an `encoder` with an `img_size`.
    """
    training = model.training
    model.eval()  # drop path drops samples at random: the figure counts all
    channels, size = model.encoder.in_channels, model.encoder.img_size
    with torch.device('meta'):
        images = torch.empty(1, channels, *size)
        ids = torch.empty(1, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            loss = model(inputs=images, keys=ids, labels=ids, mode='loss')['loss']
            forward = counter.get_total_flops()
            loss.backward()
            both = counter.get_total_flops()
    model.train(training)
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        flops=forward,
        training_flops=both,
    )


def block_flops(tokens: int, width: int, mlp_ratio: float = 4.0) -> float:
    """A transformer block: 24 N d^2 + 4 N^2 d with an MLP of ratio 4."""
    return (8 + 4 * mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width


def projection_flops(encoder: Any) -> float:
    """The patch projection of a whole image."""
    height, width = encoder.grid_size
    patch_dim = encoder.patch_size**2 * encoder.in_channels
    return float(2 * height * width * patch_dim * encoder.embed_dim)


def blocks_flops(layers: Any, tokens: int) -> float:
    """All blocks of an encoder or decoder."""
    return sum(
        block_flops(tokens, layer.attn.proj.out_features, mlp_ratio(layer)) for layer in layers
    )


def pretraining_flops(model: Any) -> float:
    """Forward of an `MAE` for one image: 19.56 GFLOP for ViT-B/16 at 224 pixels."""
    encoder, decoder = model.encoder, model.decoder
    height, width = encoder.grid_size
    K = model.masker.num_keep(height * width) + encoder.num_prefix_tokens
    N = height * width + encoder.num_prefix_tokens
    embed: float = 2 * K * encoder.embed_dim * decoder.embed_dim
    predict = 2 * N * decoder.embed_dim * decoder.pred.out_features
    total: float = (
        projection_flops(encoder)
        + blocks_flops(encoder.blocks, K)
        + embed
        + blocks_flops(decoder.blocks, N)
        + predict
    )
    return total


def classification_flops(model: Any) -> float:
    """Forward of a `Classifier` for one image."""
    encoder = model.encoder
    head: float = 2 * encoder.embed_dim * model.num_classes
    return encoder_flops(encoder) + head


def encoder_flops(encoder: Any) -> float:
    """Forward of a `ViTEncoder` that sees every patch."""
    height, width = encoder.grid_size
    N = height * width + encoder.num_prefix_tokens
    return projection_flops(encoder) + blocks_flops(encoder.blocks, N)


def training_flops(forward: float, encoder: Any) -> float:
    """Forward and backward of a model around `encoder`, from its forward."""
    return 3 * forward - projection_flops(encoder)


def mlp_ratio(layer: Any) -> float:
    """Hidden width of a block's MLP over its width."""
    return float(layer.mlp.fc1.out_features / layer.mlp.fc1.in_features)
