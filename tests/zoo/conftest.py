"""Peers: MAE and ViT built, run, saved and loaded by other libraries' own code."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mae.models import algorithms

SMALL = SimpleNamespace(
    img_size=12, patch=4, channels=5, dim=24, depth=2, heads=3, hidden=36,
    decoder_dim=16, decoder_depth=2, decoder_heads=4, decoder_hidden=48, classes=7,
)  # fmt: skip
BASE = SimpleNamespace(
    img_size=224, patch=16, channels=3, dim=768, depth=12, heads=12, hidden=3072,
    decoder_dim=512, decoder_depth=8, decoder_heads=16, decoder_hidden=2048, classes=7,
)  # fmt: skip
# As deep and with as many heads as ViT-B, within a test's time.
NARROW = SimpleNamespace(
    **{**vars(BASE), 'dim': 96, 'hidden': 384, 'decoder_dim': 64, 'decoder_hidden': 256}
)
# Not square, which timm's ViT and our own know.
WIDE = SimpleNamespace(**{**vars(SMALL), 'img_size': (8, 20)})
MASK_RATIO = 0.75


def shape_of(size):
    """(h, w) in pixels, whether `img_size` is one number or two."""
    return (size.img_size,) * 2 if isinstance(size.img_size, int) else tuple(size.img_size)


def grid_of(size):
    return tuple(side // size.patch for side in shape_of(size))


def split(noise):
    """Kept and hidden ids in ascending order of noise, and the mask."""
    keep = int(noise.shape[1] * (1 - MASK_RATIO))
    ids = noise.argsort(1)
    mask = torch.ones_like(noise).scatter(1, ids[:, :keep], 0.0)
    return ids[:, :keep], ids[:, keep:], mask


def hidden_of(pred, noise):
    ids = split(noise)[1]
    return pred.gather(1, ids[..., None].expand(-1, -1, pred.shape[-1]))


class Authors(nn.Module):
    """The authors' parameter names from their key list, filled with timm's layers."""

    def __init__(self, size, norm_pix):
        super().__init__()
        from timm.layers import PatchEmbed
        from timm.models.vision_transformer import Block

        norm = partial(nn.LayerNorm, eps=1e-6)
        count = grid_of(size)[0] * grid_of(size)[1]
        D, d = size.dim, size.decoder_dim
        self.patch_embed = PatchEmbed(shape_of(size), size.patch, size.channels, D)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        self.pos_embed = nn.Parameter(torch.zeros(1, count + 1, D), requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(D, size.heads, size.hidden / D, qkv_bias=True, norm_layer=norm)
            for _ in range(size.depth)
        )
        self.norm = norm(D)
        self.decoder_embed = nn.Linear(D, d)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, d))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, count + 1, d), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(
            Block(d, size.decoder_heads, size.decoder_hidden / d, qkv_bias=True, norm_layer=norm)
            for _ in range(size.decoder_depth)
        )
        self.decoder_norm = norm(d)
        self.decoder_pred = nn.Linear(d, size.patch**2 * size.channels)
        self.size, self.norm_pix = size, norm_pix

    def tokens(self, images, ids=None):
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        if ids is not None:
            x = x.gather(1, ids[..., None].expand(-1, -1, x.shape[-1]))
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def reconstruct(self, images, noise):
        keep, _, mask = split(noise)
        x = self.decoder_embed(self.tokens(images, keep))
        full = self.mask_token.repeat(len(x), noise.shape[1], 1)
        full = full.scatter(1, keep[..., None].expand(-1, -1, x.shape[-1]), x[:, 1:])
        x = torch.cat([x[:, :1], full], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        pred = self.decoder_pred(self.decoder_norm(x))[:, 1:]
        p, (h, w) = self.size.patch, grid_of(self.size)
        target = images.reshape(len(images), -1, h, p, w, p).permute(0, 2, 4, 3, 5, 1)
        target = target.reshape(len(images), h * w, -1)
        if self.norm_pix:
            var, mean = target.var(-1, keepdim=True), target.mean(-1, keepdim=True)
            target = (target - mean) / (var + 1e-6) ** 0.5
        loss = (((pred - target) ** 2).mean(-1) * mask).sum() / mask.sum()
        return loss, hidden_of(pred, noise)


class Lightly(nn.Module):
    """MAE as lightly's example puts its modules together, in the names of release 1.6 or before."""

    def __init__(self, size, new):
        super().__init__()
        pytest.importorskip('lightly', '1.6')  # `pip install --no-deps -r requirements/peers.txt`
        from lightly.models.modules import masked_autoencoder_timm, masked_vision_transformer_timm
        from lightly.models.modules.masked_vision_transformer_decoder_timm import (
            MaskedVisionTransformerDecoderTIMM,
        )
        from timm.models.vision_transformer import VisionTransformer

        vit = VisionTransformer(
            img_size=shape_of(size), patch_size=size.patch, in_chans=size.channels,
            embed_dim=size.dim, depth=size.depth, num_heads=size.heads,
            mlp_ratio=size.hidden / size.dim, num_classes=10, weight_init='skip',
        )  # fmt: skip
        count = vit.patch_embed.num_patches
        self.backbone = masked_vision_transformer_timm.MaskedVisionTransformerTIMM(
            vit, weight_initialization='skip', pos_embed_initialization='skip'
        )
        ratio = size.decoder_hidden / size.decoder_dim
        if new:
            self.decoder_embed = nn.Linear(size.dim, size.decoder_dim)
            self.decoder = MaskedVisionTransformerDecoderTIMM(
                count, size.decoder_dim, size.decoder_depth, size.decoder_heads, mlp_ratio=ratio,
                initialize_weights=False,
            )  # fmt: skip
            self.prediction_head = nn.Linear(size.decoder_dim, size.patch**2 * size.channels)
        else:
            self.decoder = masked_autoencoder_timm.MAEDecoderTIMM(
                count, size.patch, size.channels, size.dim, size.decoder_dim, size.decoder_depth,
                size.decoder_heads, mlp_ratio=ratio, initialize_weights=False,
            )  # fmt: skip
        self.size, self.new = size, new

    def tokens(self, images):
        return self.backbone.encode(images)

    def reconstruct(self, images, noise):
        from lightly.models import utils

        keep, hide, _ = split(noise)
        keep = torch.cat(
            [torch.zeros_like(keep[:, :1]), keep + 1], dim=1
        )  # ids count the cls token
        x = self.backbone.encode(images, idx_keep=keep)
        if self.new:
            x = utils.set_at_index(
                x.new_zeros(len(x), noise.shape[1] + 1, self.size.decoder_dim),
                keep,
                self.decoder_embed(x),
            )
            x = self.decoder(x, idx_mask=hide + 1)
            pred = self.prediction_head(utils.get_at_index(x, hide + 1))
        else:
            x = self.decoder.embed(x)
            full = utils.repeat_token(self.decoder.mask_token, (len(x), noise.shape[1] + 1))
            x = self.decoder.decode(utils.set_at_index(full, keep, x))
            pred = self.decoder.predict(utils.get_at_index(x, hide + 1))
        target = utils.get_at_index(utils.patchify(images, self.size.patch), hide)
        return nn.functional.mse_loss(pred, target), pred


def transformers_config(size, norm_pix=True, **options):
    from transformers import ViTMAEConfig

    return ViTMAEConfig(
        hidden_size=size.dim, num_hidden_layers=size.depth, num_attention_heads=size.heads,
        intermediate_size=size.hidden, image_size=size.img_size, patch_size=size.patch,
        num_channels=size.channels, decoder_hidden_size=size.decoder_dim,
        decoder_num_hidden_layers=size.decoder_depth, layer_norm_eps=1e-6,
        decoder_num_attention_heads=size.decoder_heads, mask_ratio=MASK_RATIO,
        decoder_intermediate_size=size.decoder_hidden, norm_pix_loss=norm_pix, **options,
    )  # fmt: skip


def mmpretrain_backbone(size, type_='VisionTransformer', **options):
    arch = dict(embed_dims=size.dim, num_layers=size.depth, num_heads=size.heads)
    arch['feedforward_channels'] = size.hidden
    size_ = dict(img_size=shape_of(size), patch_size=size.patch)
    channels = dict(patch_cfg=dict(in_channels=size.channels))
    return dict(type=type_, arch=arch, **size_, **channels, **options)


def build_transformers(size):
    from transformers import ViTMAEForPreTraining

    return ViTMAEForPreTraining(transformers_config(size))


def build_mmpretrain(size):
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import MODELS

    neck = dict(
        type='MAEPretrainDecoder', num_patches=grid_of(size)[0] * grid_of(size)[1],
        patch_size=size.patch, in_chans=size.channels, embed_dim=size.dim,
        decoder_embed_dim=size.decoder_dim, decoder_depth=size.decoder_depth,
        decoder_num_heads=size.decoder_heads, mlp_ratio=size.decoder_hidden / size.decoder_dim,
    )  # fmt: skip
    loss = dict(type='PixelReconstructionLoss', criterion='L2')
    head = dict(type='MAEPretrainHead', norm_pix=True, patch_size=size.patch, loss=loss)
    head['in_channels'] = size.channels
    backbone = mmpretrain_backbone(size, 'MAEViT', mask_ratio=MASK_RATIO)
    model = dict(type='MAE', backbone=backbone, neck=neck, head=head)
    return MODELS.build({**model, '_scope_': 'mmpretrain'})


def run_transformers(model, images, noise):
    out = model(images, noise=noise)
    model.vit.embeddings.config.mask_ratio = 0.0
    order = torch.arange(noise.shape[1]).float().expand_as(noise)
    tokens = model.vit(images, noise=order).last_hidden_state
    model.vit.embeddings.config.mask_ratio = MASK_RATIO
    return dict(loss=out.loss, pred=hidden_of(out.logits, noise), tokens=tokens)


def run_mmpretrain(model, images, noise):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, 'rand', lambda *args, **options: noise)
        latent, mask, ids_restore = model.backbone(images)
    pred = model.neck(latent, ids_restore)
    loss = model.head.loss(pred, images, mask)
    (tokens,) = model.backbone(images, mask=None)
    return dict(loss=loss, pred=hidden_of(pred, noise), tokens=tokens)


def run_module(model, images, noise):
    loss, pred = model.reconstruct(images, noise)
    return dict(loss=loss, pred=pred, tokens=model.tokens(images))


def save_state(wrap):
    return lambda model, path: torch.save(wrap(model.state_dict()), path)


@dataclass(frozen=True)
class Peer:
    """One library: `build(size)`, `run(model, images, noise)`, `save(model, path)`."""

    name: str
    to: str
    build: object
    run: object
    save: object
    norm_pix: bool = True


PEERS = [
    Peer('fair', 'fair', partial(Authors, norm_pix=True), run_module,
         save_state(lambda weights: {'model': weights})),
    Peer('transformers', 'transformers', build_transformers, run_transformers,
         lambda model, path: model.save_pretrained(path)),
    Peer('mmpretrain', 'mmpretrain', build_mmpretrain, run_mmpretrain,
         save_state(lambda weights: {'meta': {}, 'state_dict': weights})),
    Peer('lightly', 'lightly', partial(Lightly, new=True), run_module,
         save_state(lambda weights: {'state_dict': weights}), False),
]  # fmt: skip
OLD_LIGHTLY = Peer(
    'lightly-1.5', 'lightly', partial(Lightly, new=False), run_module, save_state(dict), False
)


@pytest.fixture(scope='session')
def peers():
    """Every `Peer` by name."""
    return {peer.name: peer for peer in [*PEERS, OLD_LIGHTLY]}


@pytest.fixture(scope='session')
def sizes():
    """Sizes of models by name."""
    return {'small': SMALL, 'base': BASE, 'narrow': NARROW, 'wide': WIDE}


@pytest.fixture(scope='session')
def random_pool():
    """Enough random numbers for a ViT-B with its decoder."""
    return torch.randn(113_000_000, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def fill(random_pool):
    """Give every tensor of a model other random values, norms around one and zero."""

    def assign(build, *args):
        with torch.device('meta'):
            model = build(*args)
        start = 0
        for name, value in model.state_dict().items():
            count = value.numel()
            fresh = random_pool[start : start + count].view(value.shape)
            start += count
            around = 1.0 if value.ndim == 1 and name.endswith('weight') else 0.0
            scale = 0.5 if 'pos' in name or value.ndim == 1 else 0.03
            if 'running_var' in name or 'num_batches' in name:
                fresh, around, scale = torch.ones(value.shape), 0.5, 1.0
            owner, _, leaf = name.rpartition('.')
            new = (fresh * scale + around).to(value.dtype)
            module = model.get_submodule(owner)
            if leaf in module._parameters:
                module._parameters[leaf] = nn.Parameter(new, requires_grad=False)
            else:
                module._buffers[leaf] = new
        return model.eval()

    return assign


@pytest.fixture
def our_mae():
    """our_mae(size, norm_pix) is our model of that size, of no particular weights."""

    def build(size, norm_pix=True):
        arch = dict(embed_dim=size.dim, depth=size.depth, num_heads=size.heads)
        with torch.device('meta'):
            model = algorithms.MAE(
                encoder=dict(type='ViTEncoder', arch=arch, img_size=shape_of(size),
                             patch_size=size.patch, in_channels=size.channels,
                             mlp_ratio=size.hidden / size.dim),
                decoder=dict(type='TransformerDecoder', embed_dim=size.decoder_dim,
                             depth=size.decoder_depth, num_heads=size.decoder_heads,
                             mlp_ratio=size.decoder_hidden / size.decoder_dim),
                masker=dict(type='RandomMasker', mask_ratio=MASK_RATIO),
                target=dict(type='PixelTarget', norm_pix=norm_pix),
                loss=dict(type='MaskedMSELoss'),
                preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
            )  # fmt: skip
        return model.to_empty(device='cpu').eval()

    return build
