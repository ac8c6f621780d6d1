"""Our MAE against the paper written out in loops: every patch, token and head by itself.

Unlike ours, the reference puts the tokens back into image order and predicts every patch.
"""

import math

import pytest
import torch

from mae.models import algorithms

GRID, PATCH, CHANNELS = (2, 3), 3, 5
WIDTH, DEPTH, HEADS = 12, 2, 3
DECODER_WIDTH, DECODER_DEPTH, DECODER_HEADS = 8, 2, 2
MASK_RATIO = 0.5


def linear(x, weights, name):
    return weights[f'{name}.weight'] @ x + weights[f'{name}.bias']


def layer_norm(x, weights, name):
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    x = (x - mean) / (variance + 1e-6).sqrt()
    return x * weights[f'{name}.weight'] + weights[f'{name}.bias']


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(tokens, weights, name, num_heads):
    dim = len(tokens[0])
    size = dim // num_heads
    qkv = [linear(token, weights, f'{name}.qkv') for token in tokens]
    out = []
    for i in range(len(tokens)):
        heads = []
        for head in range(num_heads):
            q = qkv[i][head * size : (head + 1) * size]
            scores = []
            for j in range(len(tokens)):
                k = qkv[j][dim + head * size : dim + (head + 1) * size]
                scores.append((q @ k) / math.sqrt(size))
            shares = [score.exp() for score in scores]
            mixed = 0
            for j in range(len(tokens)):
                v = qkv[j][2 * dim + head * size : 2 * dim + (head + 1) * size]
                mixed = mixed + shares[j] / sum(shares) * v
            heads.append(mixed)
        out.append(linear(torch.cat(heads), weights, f'{name}.proj'))
    return out


def transformer(tokens, weights, name, depth, num_heads):
    for number in range(depth):
        block = f'{name}.blocks.{number}'
        normed = [layer_norm(token, weights, f'{block}.norm1') for token in tokens]
        mixed = attention(normed, weights, f'{block}.attn', num_heads)
        tokens = [token + new for token, new in zip(tokens, mixed, strict=True)]
        after = []
        for token in tokens:
            hidden = linear(
                layer_norm(token, weights, f'{block}.norm2'), weights, f'{block}.mlp.fc1'
            )
            after.append(token + linear(gelu(hidden), weights, f'{block}.mlp.fc2'))
        tokens = after
    return [layer_norm(token, weights, f'{name}.norm') for token in tokens]


def positions(dim, dtype):
    """Of each patch in row-major order: column first, then row; sines, then cosines."""
    table = []
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            values = []
            for place in (column, row):
                angles = [place / 10000 ** (i / (dim // 4)) for i in range(dim // 4)]
                values += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            table.append(torch.tensor(values, dtype=torch.float32).to(dtype))
    return table


def cut(image):
    """(C, H, W) to the patches; one patch is read row by row, each pixel's channels together."""
    patches = []
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            values = []
            for y in range(PATCH):
                for x in range(PATCH):
                    for channel in range(CHANNELS):
                        values.append(image[channel, row * PATCH + y, column * PATCH + x])
            patches.append(torch.stack(values))
    return patches


def convolve(patch, weights):
    """One step of the patch convolution, on a patch laid out (row, column, channel)."""
    kernel = weights['encoder.patch_embed.proj.weight']
    out = weights['encoder.patch_embed.proj.bias']
    for y in range(PATCH):
        for x in range(PATCH):
            for channel in range(CHANNELS):
                value = patch[(y * PATCH + x) * CHANNELS + channel]
                out = out + kernel[:, channel, y, x] * value
    return out


def reference(images, noise, weights, norm_pix):
    """Loss over all hidden patches of the batch, and the predictions of every image."""
    losses, predictions = [], []
    for image, draw in zip(images, noise.tolist(), strict=True):
        patches = cut(image)
        order = sorted(range(len(patches)), key=lambda patch: draw[patch])
        keep = order[: int(len(patches) * (1 - MASK_RATIO))]
        hide = order[len(keep) :]

        place = positions(WIDTH, images.dtype)
        tokens = [weights['encoder.cls_token'][0, 0]]
        tokens += [convolve(patches[patch], weights) + place[patch] for patch in keep]
        latent = transformer(tokens, weights, 'encoder', DEPTH, HEADS)

        place = positions(DECODER_WIDTH, images.dtype)
        embedded = [linear(token, weights, 'decoder.embed') for token in latent]
        tokens = [embedded[0]]
        for patch in range(len(patches)):
            token = weights['decoder.mask_token'][0, 0]
            if patch in keep:
                token = embedded[1 + keep.index(patch)]
            tokens.append(token + place[patch])
        tokens = transformer(tokens, weights, 'decoder', DECODER_DEPTH, DECODER_HEADS)
        pred = [linear(token, weights, 'decoder.pred') for token in tokens[1:]]

        for patch in hide:
            target = patches[patch]
            if norm_pix:
                mean = sum(target) / len(target)
                variance = sum((value - mean) ** 2 for value in target) / (len(target) - 1)
                target = (target - mean) / (variance + 1e-6).sqrt()
            losses.append(sum((pred[patch] - target) ** 2) / len(target))
        predictions.append(torch.stack([pred[patch] for patch in hide]))
    return sum(losses) / len(losses), torch.stack(predictions)


@pytest.mark.parametrize('norm_pix', [True, False], ids=['norm_pix', 'plain'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=['float32', 'float64'])
def test_every_patch_token_and_head(dtype, norm_pix, same, perturb):
    height, width = GRID[0] * PATCH, GRID[1] * PATCH
    model = algorithms.MAE(
        encoder=dict(
            type='ViTEncoder',
            arch=dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS),
            img_size=(height, width),
            patch_size=PATCH,
            in_channels=CHANNELS,
            mlp_ratio=2.0,
        ),
        decoder=dict(
            type='TransformerDecoder',
            embed_dim=DECODER_WIDTH,
            depth=DECODER_DEPTH,
            num_heads=DECODER_HEADS,
        ),
        masker=dict(type='RandomMasker', mask_ratio=MASK_RATIO),
        target=dict(type='PixelTarget', norm_pix=norm_pix),
        loss=dict(type='MaskedMSELoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
    ).to(dtype)
    model.init_weights()
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    perturb(model, 0.2)
    model.load_state_dict(frozen, strict=False)
    assert set(frozen) == {'encoder.pos_embed', 'decoder.pos_embed'}

    images = torch.randn(2, CHANNELS, height, width, dtype=dtype)
    noise = torch.rand(2, GRID[0] * GRID[1])
    out = model.reconstruct(images, noise)
    out['loss'].backward()
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    copies = {n: p.detach().clone().requires_grad_() for n, p in weights.items()}
    loss, pred = reference(images, noise, copies, norm_pix)
    loss.backward()
    same(
        {'loss': out['loss'], 'pred': out['pred'], **{n: p.grad for n, p in weights.items()}},
        {'loss': loss, 'pred': pred, **{n: p.grad for n, p in copies.items()}},
    )
