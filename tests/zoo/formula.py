"""The paper's arithmetic: what a model multiplies for one image, by hand.

Shapes: N tokens, Q of them ask, L patches, K kept, D width, d decoder width, P values in a patch.
"""


def block(N, D, Q=None):
    """Query, keys and values, scores, weighted sum, projection, MLP."""
    Q = N if Q is None else Q
    return 2 * D * D * Q + 4 * D * D * N + 2 * 2 * Q * N * D + 2 * D * D * Q + 16 * D * D * Q


def encoder(model, K):
    part = model.encoder
    D, P = part.embed_dim, part.patch_size**2 * part.in_channels
    return 2 * K * P * D + part.depth * block(K + 1, D)


def decoder(model, L, K):
    part = model.decoder
    D, d, P = model.encoder.embed_dim, part.embed_dim, part.pred.out_features
    depth, Q = len(part.blocks), L - K
    return 2 * (K + 1) * D * d + (depth - 1) * block(L + 1, d) + block(L + 1, d, Q) + 2 * Q * d * P


def flops(model):
    """Forward, and forward with backward, of an `MAE` or of a classifier that is trained whole."""
    L, D = model.encoder.grid_size[0] * model.encoder.grid_size[1], model.encoder.embed_dim
    K = model.masker.num_keep(L) if hasattr(model, 'masker') else L
    head = decoder(model, L, K) if hasattr(model, 'decoder') else 2 * D * model.num_classes
    forward = encoder(model, K) + head
    # Backward is twice that, but nothing asks for the gradient of the pixels.
    pixels = 2 * K * D * model.encoder.patch_size**2 * model.encoder.in_channels
    return forward, 3 * forward - pixels
