"""`tools/converters/convert.py`, and what it refuses."""

import hashlib
import json
import re
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmpretrain.models.utils import resize_pos_embed
from timm.layers import resample_abs_pos_embed

from mae.apis import convert
from mae.fault_tolerance.checkpoint import (
    fit_weights,
    read_model,
    save_checkpoint,
    save_safetensors,
)
from mae.utils.digest import file_digest
from mae.utils.errors import CheckpointError
from mae.zoo.formats import load_weights, manifest
from mae.zoo.formats.translate import UNVERIFIED
from mae.zoo.index import find_entry

TOOL = Path(__file__).parents[3] / 'tools/converters/convert.py'
FACTS = dict(num_heads=3, decoder_num_heads=4)


@pytest.fixture(scope='module')
def tool():
    spec = spec_from_file_location('tool_convert', TOOL)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: module.main([str(argument) for argument in arguments])


@pytest.fixture
def source(peers, sizes, fill, tmp_path):
    peers['fair'].save(fill(peers['fair'].build, sizes['small']), tmp_path / 'source.pth')
    return tmp_path / 'source.pth'


def test_tool_says_what_it_does(tool, source, tmp_path, capsys):
    out = tmp_path / 'new' / 'out.safetensors'
    tool(source, out, '--to', 'timm', '--img-size', 16, 24)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('from the authors of MAE: ViT/4 (24 wide, 2 blocks), 5 ')
    assert 'encoder.pos_embed resampled from 10 to 25 positions, antialiased' in lines
    assert any(line.startswith('left out the decoder') for line in lines)
    assert lines[-1] == f'wrote {out}'
    found = read_model(out)['state_dict']['pos_embed']
    before = load_weights(source)['state_dict']['encoder.pos_embed']
    torch.testing.assert_close(found, resample_abs_pos_embed(before, [4, 6]))
    assert load_weights(out)['facts']['grid_size'] == [4, 6]
    out = tmp_path / 'authors.safetensors'
    tool(source, out, '--to', 'timm', '--img-size', 16, 24, '--no-pos-antialias')
    lines = capsys.readouterr().out.splitlines()
    assert any('encoder.pos_embed resampled from 10 to 25 positions' in line for line in lines)
    found = read_model(out)['state_dict']['pos_embed']
    torch.testing.assert_close(found, resize_pos_embed(before, (3, 3), (4, 6)))


def test_tool_takes_facts_and_channels(tool, source, tmp_path, capsys):
    facts = ('--facts', 'num_heads=3', 'classes=None')
    options = ('--encoder-only', '--in-channels', 3, '--patch-size', 6)
    tool(source, tmp_path / 'out', '--to', 'transformers', *facts, *options)
    assert re.search('5 channels and 4x4 patches .* 3 and 6x6', capsys.readouterr().out)
    config = json.loads((tmp_path / 'out' / 'config.json').read_text())
    assert (config['num_channels'], config['patch_size'], config['image_size']) == (3, 6, 18)
    with pytest.raises(ValueError, match=r'decoder of .* 4x4 patches of 5 channels'):
        tool(source, tmp_path / 'two.pth', '--to', 'fair', '--in-channels', 3)
    with pytest.raises(ValueError, match=r'16x15 .* 4x4 patches'):
        tool(source, tmp_path / 'two.pth', '--to', 'fair', '--img-size', 16, 15)
    for nothing in ([], ['--facts', 'num_heads=None']):
        with pytest.raises(
            ValueError, match=r'nothing says which num_heads .* or num_heads among its facts'
        ):
            tool(source, tmp_path / 'two', '--to', 'transformers', *nothing)
    with pytest.raises(ValueError, match="no fact 'num_head'; did you mean num_heads"):
        tool(source, tmp_path / 'two', '--to', 'transformers', '--facts', 'num_head=3')
    assert not list(tmp_path.glob('*two*'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--img-size', 0], r'0x0 .* 4x4 patches'),
        (['--img-size', -4, 8], r'-4x8 is no '),
        (['--encoder-only', '--patch-size', -3], r'patch size .* not -3'),
        (['--encoder-only', '--patch-size', 0], r'patch size .* not 0'),
        (['--encoder-only', '--in-channels', 0], r'channels .* not 0'),
        (['--facts', 'num_heads=abc'], r"num_heads .* not 'abc'"),
        (['--facts', 'decoder_num_heads=0'], r'decoder_num_heads .* not 0'),
        (['--facts', 'grid_size=3'], r'grid_size .* not 3'),
        (['--facts', 'norm_pix=maybe'], r"norm_pix is True or False, not 'maybe'"),
        (['--facts', 'mask_ratio=75'], r'mask_ratio .* 0 and 1, not 75'),
        (['--img-size', 8, '--facts', 'grid_size=2,4'], r'9 patches, .* grid_size is \(2, 4\)'),
    ],
)
def test_impossible_sizes_and_facts(tool, source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tool(source, tmp_path / 'two.pth', '--to', 'mae', *options)
    assert not list(tmp_path.glob('*two*'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'img_size': '32'}, r"image size .* two whole numbers, .* not '32'"),
        ({'img_size': (32, 32, 32)}, r'two whole numbers, .* not \(32, 32, 32\)'),
        ({'img_size': 32.0}, r'two whole numbers, .* not 32\.0'),
        ({'patch_size': 8.0}, r'patch size .* not 8\.0'),
        ({'in_channels': '3'}, r"channels .* not '3'"),
        ({'facts': ['num_heads=3']}, r'by name, .* num_heads=3, '),
        ({'key': 3}, r'no weights under 3; .* model'),
        ({'key': ''}, r"no weights under ''; .* model"),
    ],
)
def test_arguments_of_a_wrong_kind(source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        convert(source, tmp_path / 'two.pth', 'mae', encoder_only=True, **options)
    assert '\n' not in str(caught.value)
    assert not list(tmp_path.glob('*two*'))


def test_one_number_is_both_sides(source, tmp_path):
    convert(source, tmp_path / 'a.pth', 'mae', img_size=24)
    assert load_weights(tmp_path / 'a.pth')['facts']['grid_size'] == [6, 6]


@pytest.mark.parametrize('fact', ['num_heads', '=3x'])
def test_tool_says_how_facts_are_given(tool, source, tmp_path, fact, capsys):
    if fact == 'num_heads':
        with pytest.raises(SystemExit):
            tool(source, tmp_path / 'two.pth', '--to', 'mae', '--facts', fact)
        assert "--facts takes NAME=VALUE, not 'num_heads'" in capsys.readouterr().err
    else:
        with pytest.raises(ValueError, match='KEY=VALUE'):
            tool(source, tmp_path / 'two.pth', '--to', 'mae', '--facts', fact)


def test_tool_takes_a_key(tool, source, tmp_path, capsys):
    weights = read_model(source)['state_dict']
    torch.save({'student': weights, 'teacher': weights | {'cls_token': weights['cls_token'] * 2}},
               tmp_path / 'both.pth')  # fmt: skip
    out = tmp_path / 'out.safetensors'
    with pytest.raises(CheckpointError, match='holds 2 models: student, teacher; '):
        tool(tmp_path / 'both.pth', out, '--to', 'mae')
    tool(tmp_path / 'both.pth', out, '--to', 'mae', '--key', 'teacher')
    assert 'found under teacher' in capsys.readouterr().out
    found = load_weights(out)['state_dict']['encoder.cls_token']
    assert torch.equal(found, weights['cls_token'] * 2)


def test_unknown_grid_says_how_to_tell_it(tool, peers, sizes, fill, tmp_path, capsys):
    peers['fair'].save(fill(peers['fair'].build, sizes['wide']), tmp_path / 'wide.pth')
    arguments = (tmp_path / 'wide.pth', tmp_path / 'out.pth', '--to', 'fair', '--img-size', 16)
    with pytest.raises(
        ValueError, match=r'which grid the 10 patches .* or grid_size \(rows, columns\)'
    ):
        tool(*arguments)
    tool(*arguments, '--facts', 'grid_size=2,5')
    assert 'encoder.pos_embed resampled from 11 to 17 positions' in capsys.readouterr().out


def test_heads_from_a_config(peers, sizes, fill, tmp_path):
    size = SimpleNamespace(**{**vars(sizes['small']), 'img_size': 16})
    source, out = tmp_path / 'source.pth', tmp_path / 'out'
    peers['fair'].save(fill(peers['fair'].build, size), source)
    digits = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
    convert(source, out, 'transformers', config=digits, encoder_only=True)
    config = json.loads((out / 'config.json').read_text())
    assert (config['num_attention_heads'], config['image_size']) == (4, 16)
    with pytest.raises(CheckpointError, match='16 patches, and grid_size is 3x4'):
        convert(source, tmp_path / 'x', 'transformers', config=digits, facts={'grid_size': [3, 4]})
    with pytest.raises(CheckpointError, match=r'24 wide, .* 5 heads'):
        convert(source, tmp_path / 'x', 'transformers', config=digits, facts={'num_heads': 5})


def test_wrong_names_of_the_output(source, tmp_path):
    for out, to, words in (
        (source, 'mae', 'exists; give another name or remove it'),
        (tmp_path / 'x.pth', 'transformers', 'reads a folder, not a file'),
        (tmp_path / 'x.bin', 'timm', 'must end in .safetensors or .pth'),
    ):
        with pytest.raises(CheckpointError, match=words):
            convert(source, out, to)
    with pytest.raises(ValueError, match=r"no format \['mae'\]"):
        convert(source, tmp_path / 'x.pth', ['mae'])
    with pytest.raises(ValueError, match=r'no format .caffe.; known: mae, timm'):
        convert(source, tmp_path / 'x.pth', 'caffe')


def test_what_is_no_model_of_these(tmp_path):
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / 'resnet.pth')
    with pytest.raises(CheckpointError, match=r'no ViT or MAE .*conv1\.weig'):
        load_weights(tmp_path / 'resnet.pth')
    torch.save({'optimizer': {'state': {}}}, tmp_path / 'optimizer.pth')
    with pytest.raises(CheckpointError, match='holds no weights'):
        load_weights(tmp_path / 'optimizer.pth')
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        load_weights(tmp_path / 'nothing.pth')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(CheckpointError, match=r'no folder of transformers: no config.json'):
        load_weights(tmp_path / 'folder')
    (tmp_path / 'folder' / 'config.json').write_text('{')
    with pytest.raises(CheckpointError, match='not readable JSON'):
        load_weights(tmp_path / 'folder')
    (tmp_path / 'folder' / 'config.json').write_text('{}')
    with pytest.raises(CheckpointError, match=r'holds neither model.safetensors nor'):
        load_weights(tmp_path / 'folder')


def test_extra_tensors_of_other_vits_are_named(source, tmp_path):
    weights = read_model(source)['state_dict']
    weights['blocks.0.ls1.gamma'] = torch.ones(24)
    torch.save(weights, tmp_path / 'scaled.pth')
    with pytest.raises(CheckpointError, match=r'blocks.0.ls1.gamma is unknown'):
        load_weights(tmp_path / 'scaled.pth')


def test_another_size_is_named_by_shape(source, our_mae, sizes):
    found = load_weights(source)
    other = our_mae(sizes['base'])
    with pytest.raises(CheckpointError, match=r'there and \(.*\) here.*a ViT/4 \(24 wide'):
        fit_weights(other, found['state_dict'], source, facts=found['facts'])


def test_hash_in_the_name(source):
    good = source.rename(source.with_name(f'vit-{file_digest(source)[:8]}.pth'))
    assert any('verified by the SHA-256' in note for note in load_weights(good)['notes'])
    bad = good.rename(good.with_name('vit-0123abcd.pth'))
    with pytest.raises(CheckpointError, match=r'name promises: .*SHA-256'):
        load_weights(bad)
    dated = bad.rename(bad.with_name('vit-20240131.pth'))
    assert not any('verified by' in line for line in load_weights(dated)['notes'])


def test_name_of_a_published_file(source, monkeypatch):
    published = source.rename(source.with_name('mae_pretrain_vit_base.pth'))
    with pytest.raises(CheckpointError, match=r'MD5 starts with \w{6}, .* 8cad7c'):
        load_weights(published)
    found = hashlib.md5(published.read_bytes()).hexdigest()[:6]
    entry = find_entry(published.name)
    monkeypatch.setattr(
        manifest, 'find_entry', lambda name: replace(entry, checksum=f'md5:{found}')
    )
    assert load_weights(published)['notes'][-1] == 'values verified by the MD5 published'


def test_checkpoint_of_ones_own_is_verified_by_the_manifest_beside_it(source, tmp_path):
    weights = load_weights(source)['state_dict']
    save_checkpoint({'state_dict': weights, 'meta': {'step': 1}}, tmp_path / 'epoch_1.pth')
    note = 'values verified by the manifest beside it'
    assert load_weights(tmp_path / 'epoch_1.pth')['notes'] == [note]
    (tmp_path / 'epoch_1.pth.json').unlink()
    assert load_weights(tmp_path / 'epoch_1.pth')['notes'] == [UNVERIFIED]
    # A file cannot claim it for itself.
    torch.save({'state_dict': weights, 'proof': 'my word'}, tmp_path / 'claim.pth')
    assert load_weights(tmp_path / 'claim.pth')['notes'] == [UNVERIFIED]


@pytest.mark.parametrize(
    'change',
    [
        *(
            {'patch_size': 0},
            {'patch_size': 'x'},
            {'image_size': [1]},
            {'num_attention_heads': 'x'},
        ),
        *({'layer_norm_eps': 'x'}, {'id2label': {'x': 'y'}}, {'mask_ratio': 7}),
    ],
)
def test_config_json_that_no_model_can_have(change, peers, sizes, fill, tmp_path):
    peers['transformers'].save(fill(peers['transformers'].build, sizes['small']), tmp_path / 'a')
    config = json.loads((tmp_path / 'a/config.json').read_text())
    (tmp_path / 'a/config.json').write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=r'/a says .* no model can be: '):
        load_weights(tmp_path / 'a')


@pytest.mark.parametrize('metadata', ['{', '[' * 100_000, '3', '{"manifest": 3, "facts": 4}'])
def test_metadata_that_is_garbage_proves_nothing(metadata, source, tmp_path):
    weights = load_weights(source)['state_dict']
    save_safetensors(weights, tmp_path / 'a.safetensors', {'mae': metadata})
    assert load_weights(tmp_path / 'a.safetensors')['notes'] == [UNVERIFIED]


def test_weights_that_are_not_finite_are_said(source, tmp_path):
    weights = read_model(source)['state_dict']
    weights['norm.weight'][3] = float('inf')
    weights['blocks.1.mlp.fc1.bias'][0] = float('nan')
    torch.save(weights, tmp_path / 'bad.pth')
    note = 'NOT FINITE: 2 weights hold NaN or infinity, encoder.'
    assert load_weights(tmp_path / 'bad.pth')['notes'][-1].startswith(note)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_transformers_opens_it_in_the_precision_of_the_file(dtype, source, tmp_path):
    from transformers import ViTMAEForPreTraining

    weights = {name: value.to(dtype) for name, value in read_model(source)['state_dict'].items()}
    torch.save(weights, tmp_path / 'half.pth')
    convert(tmp_path / 'half.pth', tmp_path / 'out', 'transformers', facts=FACTS)
    model = ViTMAEForPreTraining.from_pretrained(tmp_path / 'out')
    assert model.dtype == dtype
    assert torch.equal(model.vit.embeddings.cls_token, weights['cls_token'])


def test_shards(peers, sizes, fill, our_mae, tmp_path):
    theirs = fill(peers['transformers'].build, sizes['small'])
    theirs.save_pretrained(tmp_path / 'whole')
    theirs.save_pretrained(tmp_path / 'parts', max_shard_size='20KB')
    assert len(list((tmp_path / 'parts').glob('*.safetensors'))) > 1
    one, two = (load_weights(tmp_path / name)['state_dict'] for name in ('whole', 'parts'))
    assert set(one) == set(two)
    assert all(torch.equal(one[name], two[name]) for name in one)
