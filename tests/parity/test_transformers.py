"""Our MAE against transformers' ViTMAE: its own code, from its package, in its own parameter names.

The figures: `pytest tests/parity/test_transformers.py -rP`.
"""

import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from mae.models import algorithms
from mae.models.layers.patches import patchify, unpatchify
from mae.models.layers.pos_embed import sincos_pos_embed

SMALL = dict(arch=dict(embed_dim=24, depth=3, num_heads=3), img_size=12, patch_size=4)
SMALL |= dict(in_channels=5, mlp_ratio=1.75)
SMALL_DECODER = dict(embed_dim=16, depth=2, num_heads=4, mlp_ratio=3.0)
BASE = dict(arch='base', img_size=224, patch_size=16, in_channels=3, mlp_ratio=4.0)
BASE_DECODER = dict(embed_dim=512, depth=8, num_heads=16, mlp_ratio=4.0)
# Float64 within a test's time: as deep and with as many heads, narrower.
NARROW = {**BASE, 'arch': dict(embed_dim=192, depth=12, num_heads=12)}
NARROW_DECODER = {**BASE_DECODER, 'embed_dim': 128}

OUTER = {
    'encoder.cls_token': 'vit.embeddings.cls_token',
    'encoder.pos_embed': 'vit.embeddings.position_embeddings',
    'encoder.patch_embed.proj': 'vit.embeddings.patch_embeddings.projection',
    'encoder.norm': 'vit.layernorm',
    'encoder.blocks': 'vit.layers',
    'decoder.embed': 'decoder.decoder_embed',
    'decoder.mask_token': 'decoder.mask_token',
    'decoder.pos_embed': 'decoder.decoder_pos_embed',
    'decoder.norm': 'decoder.decoder_norm',
    'decoder.pred': 'decoder.decoder_pred',
    'decoder.blocks': 'decoder.decoder_layers',
}
INNER = {
    'norm1': ['layernorm_before'],
    'norm2': ['layernorm_after'],
    'attn.qkv': ['attention.q_proj', 'attention.k_proj', 'attention.v_proj'],
    'attn.proj': ['attention.o_proj'],
    'mlp.fc1': ['mlp.fc1'],
    'mlp.fc2': ['mlp.fc2'],
}


def their_names(name):
    """Names in transformers 5 of the tensors that, stacked, are our parameter `name`."""
    (outer,) = [key for key in OUTER if name == key or name.startswith(f'{key}.')]
    rest = name[len(outer) :]
    if not outer.endswith('blocks'):
        return [OUTER[outer] + rest]
    number, layer = rest.removeprefix('.').split('.', 1)
    inner, kind = layer.rsplit('.', 1)
    return [f'{OUTER[outer]}.{number}.{part}.{kind}' for part in INNER[inner]]


def our_model(encoder, decoder, mask_ratio, norm_pix):
    model = algorithms.MAE(
        encoder=dict(type='ViTEncoder', **encoder),
        decoder=dict(type='TransformerDecoder', **decoder),
        masker=dict(type='RandomMasker', mask_ratio=mask_ratio),
        target=dict(type='PixelTarget', norm_pix=norm_pix),
        loss=dict(type='MaskedMSELoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
    )
    model.init_weights()
    return model


def their_model(model, decoder, mask_ratio, norm_pix, dtype):
    """transformers' model of the same shape and weights."""
    encoder = model.encoder
    config = ViTMAEConfig(
        hidden_size=encoder.embed_dim,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.blocks[0].attn.num_heads,
        intermediate_size=encoder.blocks[0].mlp.fc1.out_features,
        layer_norm_eps=1e-6,
        image_size=encoder.img_size[0],
        patch_size=encoder.patch_size,
        num_channels=encoder.in_channels,
        decoder_hidden_size=decoder['embed_dim'],
        decoder_num_hidden_layers=decoder['depth'],
        decoder_num_attention_heads=decoder['num_heads'],
        decoder_intermediate_size=int(decoder['embed_dim'] * decoder['mlp_ratio']),
        mask_ratio=mask_ratio,
        norm_pix_loss=norm_pix,
        # Its eager attention takes the softmax in float32 whatever the dtype: no use in float64.
        attn_implementation='eager' if dtype == torch.float32 else 'sdpa',
    )
    with torch.device('meta'):
        theirs = ViTMAEForPreTraining(config)
    state = {}
    for name, value in model.state_dict().items():
        names = their_names(name)
        state.update(zip(names, value.clone().chunk(len(names)), strict=True))
    theirs.load_state_dict(state, strict=True, assign=True)
    return theirs


def compare(model, theirs, images, noise, same):
    ours = model.reconstruct(images, noise)
    ours['loss'].backward()
    out = theirs(images, noise=noise)
    out.loss.backward()

    ids = ours['ids_hide']
    hidden = out.logits.gather(1, ids[..., None].expand(-1, -1, out.logits.shape[-1]))
    assert torch.equal(ours['mask'], out.mask.to(ours['mask'].dtype))
    assert torch.equal(out.ids_restore.argsort(1), torch.cat([ours['ids_keep'], ids], 1))

    their_grads = {name: param.grad for name, param in theirs.named_parameters()}
    our_grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    named = {name: their_names(name) for name in our_grads}
    assert {n for names in named.values() for n in names} == {
        name for name, grad in their_grads.items() if grad is not None
    }
    stacked = {name: torch.cat([their_grads[n] for n in names]) for name, names in named.items()}
    same(
        {'loss': ours['loss'], 'pred': ours['pred'], **our_grads},
        {'loss': out.loss, 'pred': hidden, **stacked},
    )


@pytest.mark.parametrize('norm_pix', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=['float32', 'float64'])
def test_small_odd_model(dtype, norm_pix, same, perturb):
    model = our_model(SMALL, SMALL_DECODER, 0.6, norm_pix).to(dtype)
    perturb(model, 0.05)
    theirs = their_model(model, SMALL_DECODER, 0.6, norm_pix, dtype)
    for one in (model, theirs):
        one.requires_grad_(True)  # the frozen positions too
    images, noise = torch.randn(3, 5, 12, 12, dtype=dtype), torch.rand(3, 9, dtype=dtype)
    compare(model, theirs, images, noise, same)


@pytest.mark.parametrize(
    ('dtype', 'encoder', 'decoder'),
    [(torch.float32, BASE, BASE_DECODER), (torch.float64, NARROW, NARROW_DECODER)],
    ids=['float32', 'float64-narrow'],
)
def test_vit_base(dtype, encoder, decoder, same, perturb):
    model = our_model(encoder, decoder, 0.75, True).to(dtype)
    perturb(model, 0.05, vectors_only=True)
    theirs = their_model(model, decoder, 0.75, True, dtype)
    images, noise = torch.randn(1, 3, 224, 224, dtype=dtype), torch.rand(1, 196, dtype=dtype)
    compare(model, theirs, images, noise, same)


def test_patch_layout_is_theirs():
    config = ViTMAEConfig(
        image_size=12, patch_size=4, num_channels=5, hidden_size=24, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=8, decoder_hidden_size=16,
        decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=8,
    )  # fmt: skip
    theirs = ViTMAEForPreTraining(config)
    images = torch.randn(2, 5, 12, 12)
    patches = theirs.patchify(images)
    assert torch.equal(patchify(images, 4), patches)
    assert torch.equal(unpatchify(patches, 4, (3, 3)), theirs.unpatchify(patches))


@pytest.mark.parametrize('grid_size', [(3, 3), (2, 3)])
def test_positions_are_theirs(grid_size):
    # They build rows before columns, then exchange the halves for the authors' weights.
    rows, columns = build_2d_sinusoidal_position_embedding(*grid_size, 24, cls_token=True).chunk(
        2, 1
    )
    theirs = torch.cat([columns, rows], dim=1)
    torch.testing.assert_close(sincos_pos_embed(24, grid_size, 1)[0], theirs, rtol=0, atol=1e-7)
