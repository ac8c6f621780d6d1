"""Each peer's own model: saved by it, loaded by us, run by both; and back.

The figures: `pytest tests/zoo/formats/test_peers.py -rP`.
"""

from itertools import product

import pytest
import torch

from mae.fault_tolerance.checkpoint import fit_weights, save_safetensors
from mae.zoo.formats import BY_NAME, export_weights, load_weights

TOLERANCE = 1e-5
NAMES = ('fair', 'transformers', 'mmpretrain', 'lightly')
# In lightly's backbone, but no part of MAE.
UNUSED = ('backbone.mask_token', 'backbone.vit.head.')


def deviation(ours, theirs):
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def load(model, path):
    found = load_weights(path)
    facts, notes = found['facts'], found['notes']
    weights = found['state_dict']
    return found, fit_weights(model, weights, path, exact=True, facts=facts, notes=notes)


def load_back(peer, size, exported, before):
    """A new model of the peer with the weights that leave us, by the peer's own loading."""
    if peer.to == 'transformers':
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        model, info = ViTMAEForPreTraining.from_pretrained(
            None,
            config=ViTMAEConfig(**exported.config),
            state_dict=exported.weights,
            output_loading_info=True,
        )
        assert not any(info.values()), info
        return model
    with torch.device('meta'):
        model = peer.build(size)
    unused = {name: value for name, value in before.items() if name.startswith(UNUSED)}
    model.load_state_dict({**exported.weights, **unused}, strict=True, assign=True)
    return model


@pytest.mark.parametrize(
    ('name', 'size'), [*product(NAMES, ('small', 'narrow')), ('transformers', 'base')]
)
@torch.inference_mode()
def test_there_and_back(name, size, peers, sizes, fill, our_mae, tmp_path, request):
    peer, size = peers[name], sizes[size]
    theirs = fill(peer.build, size)
    source = tmp_path / ('source' if name == 'transformers' else 'source.pth')
    peer.save(theirs, source)

    model = our_mae(size, peer.norm_pix)
    found, report = load(model, source)
    assert not report.missing
    assert not report.unexpected
    images = torch.randn(1 if size.img_size > 99 else 3, size.channels, *model.encoder.img_size)
    noise = torch.rand(len(images), model.encoder.pos_embed.shape[1] - 1)
    out = model.reconstruct(images, noise)
    ours = dict(loss=out['loss'], pred=out['pred'], tokens=model.encoder(images))
    expected = peer.run(theirs, images, noise)
    differ = {key: deviation(ours[key], expected[key]) for key in expected}
    print(f'{request.node.name}: {", ".join(f"{k} {v:.1e}" for k, v in differ.items())}')
    assert max(differ.values()) < TOLERANCE

    facts = {**found['facts'], 'num_heads': size.heads, 'decoder_num_heads': size.decoder_heads}
    exported = export_weights(found['state_dict'], BY_NAME[peer.to], facts, source)
    before = theirs.state_dict()
    again = load_back(peer, size, exported, before).state_dict()
    assert set(again) == set(before)
    assert all(torch.equal(again[key], before[key]) for key in before)


@torch.inference_mode()
def test_lightly_before_its_new_decoder(peers, sizes, fill, our_mae, tmp_path):
    peer, size = peers['lightly-1.5'], sizes['small']
    theirs = fill(peer.build, size)
    peer.save(theirs, tmp_path / 'old.pth')
    model = our_mae(size, False)
    load(model, tmp_path / 'old.pth')
    images, noise = torch.randn(2, 5, 12, 12), torch.rand(2, 9)
    expected = peer.run(theirs, images, noise)
    out = model.reconstruct(images, noise)
    assert deviation(out['loss'], expected['loss']) < TOLERANCE
    assert deviation(out['pred'], expected['pred']) < TOLERANCE


@torch.inference_mode()
def test_a_grid_that_is_not_square(peers, sizes, fill, our_mae, tmp_path):
    size = sizes['wide']
    theirs = fill(peers['fair'].build, size)
    peers['fair'].save(theirs, tmp_path / 'wide.pth')
    model = our_mae(size)
    load(model, tmp_path / 'wide.pth')
    images, noise = torch.randn(2, 5, 8, 20), torch.rand(2, 10)
    loss, pred = theirs.reconstruct(images, noise)
    out = model.reconstruct(images, noise)
    assert deviation(out['loss'], loss) < TOLERANCE
    assert deviation(out['pred'], pred) < TOLERANCE


# `save_pretrained` writes names of version 4 outside the decoder; these are those of version 5.
@pytest.mark.parametrize('original', [True, False])
@pytest.mark.parametrize('prefix', ['', 'model.'])
def test_names_of_both_versions_of_transformers(
    original, prefix, peers, sizes, fill, our_mae, tmp_path
):
    theirs = fill(peers['transformers'].build, sizes['small'])
    folder = tmp_path / 'folder'
    theirs.save_pretrained(folder, save_original_format=original)
    if prefix:
        weights = {f'{prefix}{name}': value for name, value in theirs.state_dict().items()}
        save_safetensors(weights, folder / 'model.safetensors', {'format': 'pt'})
    model = our_mae(sizes['small'])
    load(model, folder)
    key = theirs.vit.layers[1].attention.k_proj.weight
    assert torch.equal(model.encoder.blocks[1].attn.qkv.weight[24:48], key)
    value = theirs.decoder.decoder_layers[1].attention.v_proj.bias
    assert torch.equal(model.decoder.blocks[1].attn.qkv.bias[32:], value)
