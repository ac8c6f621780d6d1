"""Folders of the hub: what transformers needs beside the weights, shards, and shared memory."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mae.apis import convert, get_model, load_config, publish
from mae.apis.images import ReadImage
from mae.fault_tolerance.checkpoint import save_safetensors
from mae.fault_tolerance.checkpoint.weights import unshared
from mae.utils.errors import CheckpointError
from mae.zoo.formats import load_weights

HEADS = {'num_heads': 3}
DIGITS = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'


@pytest.fixture
def vit(tmp_path):
    """vit(img_size=..., ...) writes a classifier of timm's that reads the cls token."""

    def write(**options):
        model = timm.models.vision_transformer.VisionTransformer(
            **{'img_size': 32, 'patch_size': 8, 'num_classes': 5, **options},
            embed_dim=48, depth=2, num_heads=3, global_pool='token',
        )  # fmt: skip
        torch.save(model.state_dict(), tmp_path / 'vit.pth')
        return tmp_path / 'vit.pth'

    return write


@pytest.fixture
def theirs(peers, sizes, fill):
    return fill(peers['transformers'].build, sizes['small'])


def picture(height, width, channels=3):
    rng = np.random.default_rng(height * width)
    noise = rng.integers(0, 256, (height // 5 + 2, width // 5 + 2, channels), dtype=np.uint8)
    image = Image.fromarray(noise[..., 0] if channels == 1 else noise)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def grey_levels(processor, image):
    """What a processor of transformers makes of an image, before it is normalised."""
    pixels = processor(image, return_tensors='pt')['pixel_values'][0]
    mean, std = (
        torch.tensor(v).view(-1, 1, 1) for v in (processor.image_mean, processor.image_std)
    )
    return (pixels * std + mean) * 255


def same_pixels(folder, size, channels=3):
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder)
    for height, width in ((size, size), (37, 53), (97, 64), (375, 500), (300, 240)):
        image = picture(height, width, channels)
        ours = ReadImage(channels, (size, size))(image).float()
        found = grey_levels(processor, image)
        assert found.shape == ours.shape
        assert (found - ours).abs().max() <= 1  # of 255: rounding
    return processor


@pytest.mark.parametrize('size', [32, 224])
def test_classifier_sees_the_same_pixels_in_transformers(size, vit, tmp_path):
    done = convert(vit(img_size=size), tmp_path / 'out', 'transformers', facts=HEADS)
    processor = same_pixels(tmp_path / 'out', size)
    assert np.allclose(np.array(processor.image_mean) * 255, [123.675, 116.28, 103.53])
    assert 'mean [123.675, 116.28, 103.53] assumed, as usual' in done.lines


def test_pretrained_model_of_ours_sees_the_same_pixels_in_transformers(tmp_path):
    from transformers import AutoImageProcessor, ViTMAEForPreTraining

    config = load_config(DIGITS)
    model = get_model(config)
    torch.save(
        {'state_dict': model.state_dict(), 'meta': {'cfg': config.to_dict()}}, tmp_path / 'a.pth'
    )
    done = convert(tmp_path / 'a.pth', tmp_path / 'out', 'transformers')
    assert not any('assumed' in line for line in done.lines)
    same_pixels(tmp_path / 'out', 16, channels=1)
    image = picture(40, 30, channels=1)
    pixels = ReadImage(1, (16, 16))(image)
    ours = model.data_preprocessor({'inputs': pixels[None]}, False)['inputs']
    processor = AutoImageProcessor.from_pretrained(tmp_path / 'out')
    inputs = processor(image, return_tensors='pt')['pixel_values']
    torch.testing.assert_close(inputs, ours, rtol=0, atol=1 / 96 + 1e-6)  # one grey level
    again = ViTMAEForPreTraining.from_pretrained(tmp_path / 'out')
    assert again.config.num_channels == 1
    facts = load_weights(tmp_path / 'out')['facts']
    assert (facts['mean'], facts['std']) == ([78.0], [96.0])


def test_pretrained_model_of_theirs_gets_a_processor(tmp_path):
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(
        hidden_size=48, num_hidden_layers=1, num_attention_heads=4, intermediate_size=96,
        image_size=32, patch_size=8, decoder_hidden_size=32, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=4, decoder_intermediate_size=64,
    )  # fmt: skip
    ViTMAEForPreTraining(config).save_pretrained(tmp_path / 'in')
    convert(tmp_path / 'in', tmp_path / 'out', 'transformers')
    same_pixels(tmp_path / 'out', 32)


def test_mean_and_deviation_as_told(vit, tmp_path):
    facts = {**HEADS, 'mean': 100, 'std': [50, 51.5, 52]}
    convert(vit(), tmp_path / 'out', 'transformers', facts=facts)
    found = json.loads((tmp_path / 'out/preprocessor_config.json').read_text())
    assert found['image_mean'] == [100 / 255] * 3
    assert found['image_std'] == [50 / 255, 51.5 / 255, 52 / 255]
    for wrong, message in (
        ({'mean': [1, 2]}, 'mean has 2 numbers for 3 channels'),
        ({'std': 0}, r'the fact std is a positive number for each channel, not \[0\]'),
        ({'mean': 'grey'}, "the fact mean is a number for each channel, not 'grey'"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(vit(), tmp_path / 'x', 'transformers', facts={**facts, **wrong})
        assert not list(tmp_path.glob('*x'))


def test_other_channels_have_other_means(vit, tmp_path):
    convert(
        vit(), tmp_path / 'a', 'transformers', facts={**HEADS, 'mean': [9, 9, 9], 'std': [9, 9, 9]}
    )
    done = convert(tmp_path / 'a', tmp_path / 'b', 'transformers', in_channels=1)
    assert 'mean [127.5] assumed, as usual' in done.lines


def test_a_grid_that_is_not_square_is_squeezed_and_said(vit, tmp_path):
    from transformers import AutoImageProcessor

    facts = {**HEADS, 'grid_size': [2, 3]}
    done = convert(vit(img_size=(16, 24)), tmp_path / 'out', 'transformers', facts=facts)
    assert any('squeezes images to 16x24' in line for line in done.lines)
    processor = AutoImageProcessor.from_pretrained(tmp_path / 'out')
    assert processor(picture(30, 40), return_tensors='pt')['pixel_values'].shape == (1, 3, 16, 24)


def test_their_own_processor_stays_and_is_understood(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / 'a')
    own = {'image_processor_type': 'ViTImageProcessor', 'size': {'height': 12, 'width': 12},
           'resample': 2, 'image_mean': [0.5] * 5, 'image_std': [0.25] * 5}  # fmt: skip
    (tmp_path / 'a/preprocessor_config.json').write_text(json.dumps(own))
    facts = load_weights(tmp_path / 'a')['facts']
    assert (facts['mean'], facts['std']) == ([127.5] * 5, [63.75] * 5)
    convert(tmp_path / 'a', tmp_path / 'b', 'transformers')
    assert json.loads((tmp_path / 'b/preprocessor_config.json').read_text()) == own
    convert(tmp_path / 'a', tmp_path / 'c', 'transformers', img_size=24)
    changed = json.loads((tmp_path / 'c/preprocessor_config.json').read_text())
    assert (changed['crop_size']['height'], changed['image_mean']) == (24, [0.5] * 5)
    convert(tmp_path / 'a', tmp_path / 'd.safetensors', 'fair')
    assert load_weights(tmp_path / 'd.safetensors')['facts']['std'] == [63.75] * 5


# --- shards -----------------------------------------------------------------------------------


@pytest.mark.parametrize('mean', [0.5, [0.5] * 5, None])
def test_what_a_processor_may_say(mean, theirs, tmp_path):
    theirs.save_pretrained(tmp_path / 'a')
    own = {'image_mean': mean, 'image_std': 0.25, 'rescale_factor': 1 / 255}
    (tmp_path / 'a/preprocessor_config.json').write_text(json.dumps(own))
    facts = load_weights(tmp_path / 'a')['facts']
    assert facts.get('mean') == (mean and [127.5] * (len(mean) if isinstance(mean, list) else 1))
    own = {'do_normalize': False, 'do_rescale': True}
    (tmp_path / 'a/preprocessor_config.json').write_text(json.dumps(own))
    facts = load_weights(tmp_path / 'a')['facts']
    assert (facts['mean'], facts['std']) == ([0.0], [255.0])
    for bad in ({'rescale_factor': 0}, {'image_mean': 'x', 'image_std': 'y'}):
        own = {'image_mean': 0.5, 'image_std': 0.5, **bad}
        (tmp_path / 'a/preprocessor_config.json').write_text(json.dumps(own))
        with pytest.raises(CheckpointError, match='no model can be'):
            load_weights(tmp_path / 'a')


def as_bin(folder, new):
    """The folder with `pytorch_model*.bin` in place of safetensors, as before they were usual."""
    shutil.copytree(folder, new)
    for file in sorted(new.glob('model*.safetensors')):
        renamed = file.name.replace('model', 'pytorch_model').replace('.safetensors', '.bin')
        torch.save(load_file(file), new / renamed)
        file.unlink()
    for index in new.glob('model.safetensors.index.json'):
        text = (
            index.read_text().replace('"model-', '"pytorch_model-').replace('.safetensors', '.bin')
        )
        (new / 'pytorch_model.bin.index.json').write_text(text)
        index.unlink()
    return new


@pytest.mark.parametrize('shard', ['20KB', '10GB'])
@pytest.mark.parametrize('kind', ['safetensors', 'bin'])
def test_every_sharding(shard, kind, theirs, tmp_path):
    theirs.save_pretrained(tmp_path / 'a', max_shard_size=shard)
    folder = as_bin(tmp_path / 'a', tmp_path / 'b') if kind == 'bin' else tmp_path / 'a'
    suffix = f'.{kind}'
    files = [file for file in folder.iterdir() if file.suffix == suffix]
    assert (len(files) > 1) == (shard == '20KB')
    convert(folder, tmp_path / 'ours.pth', 'mae')
    theirs.save_pretrained(tmp_path / 'whole')
    one, two = (load_weights(tmp_path / name) for name in ('whole', 'ours.pth'))
    assert one['state_dict'].keys() == two['state_dict'].keys()
    assert all(torch.equal(v, two['state_dict'][n]) for n, v in one['state_dict'].items())
    assert two['facts']['num_heads'] == 3
    if len(files) > 1:
        (index,) = folder.glob('*.index.json')
        assert load_weights(index)['facts'] == load_weights(folder)['facts']
        files[0].unlink()
        with pytest.raises(CheckpointError, match=rf'not whole: {files[0].name} is missing'):
            load_weights(folder)
        index.write_text('{}')
        with pytest.raises(CheckpointError, match=r'lists no files: .*weight_map'):
            load_weights(folder)


def test_folder_of_timm(vit, tmp_path):
    """Its `config.json` is another, which tells no heads."""
    (tmp_path / 'hub').mkdir()
    save_file(torch.load(vit()), tmp_path / 'hub/model.safetensors')
    usual = {'mean': [0.5, 0.5, 0.5], 'std': [0.5, 0.5, 0.5], 'input_size': [3, 32, 32]}
    config = {'architecture': 'vit_mini', 'num_classes': 5, 'pretrained_cfg': usual}
    (tmp_path / 'hub/config.json').write_text(json.dumps(config))
    facts = load_weights(tmp_path / 'hub')['facts']
    assert facts['mean'] == [127.5] * 3
    assert 'num_heads' not in facts


# --- memory under two names -------------------------------------------------------------------


def tied(weights):
    """The same numbers under two names, and a view into a larger tensor."""
    weights = dict(weights)
    block = 'blocks.{}.mlp.fc1.weight'
    weights[block.format(1)] = weights[block.format(0)]
    store = torch.randn(1000, 48)
    weights['blocks.0.norm1.weight'] = store[7]
    return weights


@pytest.mark.parametrize(
    ('way', 'suffix'),
    [
        *(('convert', '.safetensors'), ('convert', '.pth'), ('convert', '')),
        *(('publish', '.safetensors'), ('publish', '.pth')),
    ],
)
def test_weights_that_share_memory(way, suffix, vit, tmp_path):
    weights = tied(torch.load(vit()))
    torch.save({'state_dict': weights}, tmp_path / 'tied.pth')
    if way == 'convert':
        out = tmp_path / f'out{suffix}'
        to = 'timm' if suffix else 'transformers'
        convert(tmp_path / 'tied.pth', out, to, facts=HEADS)
    else:
        done = publish(tmp_path / 'tied.pth', tmp_path, 'vit', license_='MIT', suffix=suffix)
        out = done.weights
    first, second = (load_weights(path)['state_dict'] for path in (tmp_path / 'tied.pth', out))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    size = sum(value.nbytes for value in second.values())
    files = [out] if out.is_file() else [out / 'model.safetensors']
    assert sum(file.stat().st_size for file in files) < 1.3 * size  # without the larger tensor


def test_unshared():
    whole = torch.arange(12.0).reshape(3, 4)
    weights = {'a': whole, 'b': whole, 'c': whole[1], 'd': whole.T, 'e': torch.zeros(1).expand(5)}
    own = unshared(weights)
    assert all(torch.equal(own[name], weights[name]) for name in weights)
    assert len({value.untyped_storage().data_ptr() for value in own.values()}) == 5
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in own.values())
    assert own['a'] is not weights['a'] or own['a'].data_ptr() == whole.data_ptr()


def test_safetensors_of_tied_weights(tmp_path):
    value = torch.randn(3)
    save_safetensors({'a': value, 'b': value}, tmp_path / 'a.safetensors', {'k': 'v'})
    found = load_file(tmp_path / 'a.safetensors')
    assert torch.equal(found['a'], value)
    assert torch.equal(found['b'], value)
