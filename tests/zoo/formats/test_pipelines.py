"""Folders for transformers and timm: their own pipelines give our features and classes."""

import json
import re
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image

from mae.apis import FeatureExtractor, ImageClassifierInferencer, convert, get_model, load_config
from mae.apis.images import ReadImage
from mae.utils.errors import CheckpointError

TOLERANCE = 1e-5  # of the largest value: the order of sums
CLASSES = ['temple', 'tree', 'sky', 'a | b', 'water']
SMALL = {'model.encoder.arch': {'embed_dim': 48, 'depth': 2, 'num_heads': 3}}
PRETRAIN, FINETUNE = (
    'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k',
    'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
)


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    """A photograph whose resized sides have a middle that lies on a pixel, see formats.md."""
    path = tmp_path_factory.mktemp('photo') / 'china.png'
    Image.fromarray(load_sample_image('china.jpg')[:, :638]).save(path)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    """checkpoint(config, **options) writes that of a run, and returns model and path."""

    def write(name, meta=None, **options):
        config = load_config(name, {**SMALL, **options})
        model = get_model(config)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.05)
        stated = {'cfg': config.to_dict(), 'epoch': 3, 'step': 12, **(meta or {})}
        torch.save({'state_dict': model.state_dict(), 'meta': stated}, tmp_path / 'run.pth')
        return model, tmp_path / 'run.pth'

    return write


def pretrained(checkpoint, **options):
    small = {'model.decoder.embed_dim': 32, 'model.decoder.depth': 1, 'model.decoder.num_heads': 4}
    return checkpoint(PRETRAIN, **{**small, **options})


def close(found, ours):
    assert found.shape == ours.shape
    assert ((found - ours).abs().max() / ours.abs().max()).item() < TOLERANCE


def pipeline_of(task, folder):
    from transformers import pipeline

    return pipeline(task, model=str(folder))


def pixels_of(pipe, photo):
    """What their processor makes of a photo, once it is found to be ours up to one grey level."""
    pixels = pipe.image_processor(Image.open(photo), return_tensors='pt')['pixel_values']
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((123.675, 116.28, 103.53),
                                                         (58.395, 57.12, 57.375)))  # fmt: skip
    ours = ReadImage(3, (224, 224))(photo)
    assert (pixels[0] * std + mean - ours).abs().max() < 1.01
    return pixels


@pytest.mark.parametrize('to', ['transformers', 'timm'])
@torch.inference_mode()
def test_features(to, checkpoint, photo, tmp_path):
    model, source = pretrained(checkpoint)
    convert(source, tmp_path / 'out', to, encoder_only=True)
    pipe = pipeline_of('image-feature-extraction', tmp_path / 'out')
    found = pipe(str(photo), return_tensors=True)
    close(found, model.extract_features(pixels_of(pipe, photo), 'tokens'))
    ours = torch.as_tensor(FeatureExtractor(model, pool='tokens')(photo).features)
    assert (found - ours).norm() / ours.norm() < 0.02  # of one grey level here and there
    if to == 'timm':
        pooled = pipe(str(photo), return_tensors=True, pool=True)
        close(pooled, model.extract_features(pixels_of(pipe, photo), 'avg'))


@pytest.mark.parametrize('to', ['transformers', 'timm'])
@torch.inference_mode()
def test_classes(to, checkpoint, photo, tmp_path):
    head = {'pool': 'cls', 'norm': 'none'} if to == 'transformers' else {'pool': 'avg'}
    options = {f'model.head.{name}': value for name, value in head.items()}
    model, source = checkpoint(
        FINETUNE,
        {'classes': CLASSES},
        **options,
        **{'model.head.num_classes': 5, 'model.encoder.final_norm': to == 'transformers'},
    )
    convert(source, tmp_path / 'out', to)
    pipe = pipeline_of('image-classification', tmp_path / 'out')
    assert pipe.model.config.id2label == dict(enumerate(CLASSES))
    found = {row['label']: row['score'] for row in pipe(str(photo), function_to_apply='none')}
    logits = torch.tensor([[found[name] for name in CLASSES]])
    close(logits, model(pixels_of(pipe, photo)))
    (ours,) = ImageClassifierInferencer(model, classes=CLASSES)(photo).images
    assert ours.classes[0] == max(found, key=found.get)


@pytest.mark.parametrize(
    ('size', 'channels', 'cls_token'), [((32, 32), 1, True), ((32, 48), 5, False)]
)
@torch.inference_mode()
def test_timm_creates_any_vit_of_ours(size, channels, cls_token, checkpoint, tmp_path):
    levels = {'mean': [100.0 + n for n in range(channels)], 'std': [51.0] * channels}
    model, source = checkpoint(
        FINETUNE,
        {'classes': CLASSES},
        **{
            'model.encoder.arch': {'embed_dim': 24, 'depth': 1, 'num_heads': 2},
            'model.encoder.mlp_ratio': 1.7,
            'model.encoder.img_size': size,
            'model.encoder.patch_size': 8,
            'model.encoder.in_channels': channels,
            'model.encoder.with_cls_token': cls_token,
            'model.head.num_classes': 5,
            **{f'model.preprocessor.{name}': value for name, value in levels.items()},
        },
    )
    done = convert(source, tmp_path / 'out', 'timm')
    assert any('open images as RGB of 8 bits' in line for line in done.lines)
    theirs = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True).eval()
    images = torch.randn(2, channels, *size)
    close(theirs(images), model(images))
    data = timm.data.resolve_model_data_config(theirs)
    assert data['input_size'] == (channels, *size)
    assert data['mean'] == pytest.approx([value / 255 for value in levels['mean']])
    assert data['std'] == pytest.approx([0.2] * channels)
    assert theirs.pretrained_cfg['label_names'] == CLASSES


def header_of(folder):
    return yaml.safe_load((folder / 'README.md').read_text().split('---')[1])


def test_card_states_what_the_checkpoint_does(checkpoint, tmp_path):
    meta = {'best': 81.25, 'classes': CLASSES, 'versions': {'mae': '9.8.7'}}
    options = {'model.head.num_classes': 5, 'default_hooks.checkpoint.save_best': 'accuracy/top1'}
    _, source = checkpoint(FINETUNE, meta, **options)
    convert(source, tmp_path / 'mine', 'timm')
    header, card = header_of(tmp_path / 'mine'), (tmp_path / 'mine/README.md').read_text()
    assert header['library_name'] == 'timm'
    assert header['pipeline_tag'] == 'image-classification'
    assert header['metrics'] == ['accuracy']
    assert 'license' not in header
    assert '# license: ' in card
    rows = (
        '| epochs | 3 of 100 |', '| steps | 12 |', '| version of mae | 9.8.7 |',
        '| base learning rate | 0.0005 |', '| classes | 5: temple, tree, sky, a \\| b, water',
    )  # fmt: skip
    for row in rows:
        assert row in card
    assert 'Best accuracy/top1 on the validation images of the run, up to this' in card
    assert 'mean 0.485, 0.456, 0.406; standard deviation 0.229, 0.224, 0.225' in card


@pytest.mark.parametrize(
    ('options', 'line', 'task'),
    [
        ({'encoder_only': True}, 'left out the head, as asked', 'image-feature-extraction'),
        ({'in_channels': 1}, 'fitted from 3 channels', 'image-classification'),
        ({'img_size': 96}, 'resampled from 197 to 37 positions', 'image-classification'),
    ],
)
def test_card_of_changed_weights_claims_no_accuracy(options, line, task, checkpoint, tmp_path):
    keys = {'model.head.num_classes': 5, 'default_hooks.checkpoint.save_best': 'accuracy/top1'}
    _, source = checkpoint(FINETUNE, {'best': 81.25, 'classes': CLASSES}, **keys)
    convert(source, tmp_path / 'out', 'timm', **options)
    header, card = header_of(tmp_path / 'out'), (tmp_path / 'out/README.md').read_text()
    assert header['pipeline_tag'] == task
    assert 'metrics' not in header
    assert 'masked-autoencoder' not in header['tags']  # nothing states where it began
    changed = card.partition('Changed when they were converted:')[2].partition('## Results')
    assert line in changed[0]
    assert '81.25. It was measured before they were changed.' in changed[2]


def test_card_of_names_that_break_a_page(checkpoint, tmp_path):
    names = ['caf\udce9', 'a\n---', '"b": [', '\U0001f408', '<script>']
    _, source = checkpoint(FINETUNE, {'classes': names}, **{'model.head.num_classes': 5})
    out = tmp_path / 'the <b>\n---\nlicense: mit \udce9'
    convert(source, out, 'timm')
    card = (out / 'README.md').read_text(encoding='utf-8')
    assert '| classes | 5: caf\\udce9, a ---, "b": [, \U0001f408, &lt;script> |' in card
    assert '# the &lt;b> --- license: mit \\udce9\n' in card
    assert 'license' not in header_of(out)
    assert json.loads((out / 'config.json').read_text())['label_names'] == names


def test_names_that_are_not_those_of_the_head(checkpoint, tmp_path):
    head = {'model.head.num_classes': 5, 'model.head.pool': 'cls', 'model.head.norm': 'none'}
    options = {**head, 'model.encoder.final_norm': True}
    _, source = checkpoint(FINETUNE, {'classes': ['a']}, **options)
    done = convert(source, tmp_path / 'one', 'timm')
    assert 'left out the names of 1 class: the head has 5' in done.lines
    assert '| classes |' not in (tmp_path / 'one/README.md').read_text()
    with pytest.raises(CheckpointError, match='it names 1 class, and the head has 5'):
        convert(source, tmp_path / 'none', 'transformers')
    _, source = checkpoint(FINETUNE, {'classes': ['a', 'b', 'c', 'b', 'd']}, **options)
    with pytest.raises(CheckpointError, match="several of its classes have the name 'b'"):
        convert(source, tmp_path / 'none', 'transformers')


def test_card_of_a_bare_file_states_nothing_of_the_training(tmp_path):
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=1, num_heads=3, num_classes=0
    )
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    convert(tmp_path / 'a.pth', tmp_path / 'out', 'timm', facts={'num_heads': 3})
    card = (tmp_path / 'out/README.md').read_text()
    assert 'The checkpoint states nothing about it.' in card
    assert 'The checkpoint states none.' in card
    assert 'masked autoencoder (He' not in card
    assert 'masked-autoencoder' not in header_of(tmp_path / 'out')['tags']
    assert 'mean [123.675, 116.28, 103.53] assumed, as usual' in card


@pytest.mark.parametrize('between', ['folder', 'a.safetensors', 'a.pth'])
def test_a_second_conversion_states_what_the_first_did(between, checkpoint, tmp_path):
    keys = {'model.head.num_classes': 5, 'default_hooks.checkpoint.save_best': 'accuracy/top1'}
    _, source = checkpoint(FINETUNE, {'best': 81.25, 'classes': CLASSES}, **keys)
    convert(source, tmp_path / 'once', 'timm', img_size=96)
    first = convert(
        source, tmp_path / between, 'mae' if '.' in between else 'timm', encoder_only=True
    )
    convert(first.out, tmp_path / 'twice', 'timm', img_size=96)
    once, twice = ((tmp_path / name / 'README.md').read_text() for name in ('once', 'twice'))
    stated = once.partition('## Training')[2].partition('Changed')[0]
    assert '| epochs | 3 of 100 |' in stated
    assert stated in twice
    changes = twice.partition('Changed when')[2].partition('## Images')[0]
    assert changes.index('left out the head, as asked') < changes.index('to 37 positions')
    assert '81.25. It was measured before they were changed.' in changes


def test_what_a_conversion_stored_may_be_anything(checkpoint, tmp_path):
    model, source = pretrained(checkpoint)
    rows = {'seed': '1 |\n# owned', 'steps': ['owned'], 'data': 'ImageFolder', 'owned': '1'}
    stored = {'rows': rows, 'metric': ['owned'], 'changes': [3, 'b'], 'license': 'a: owned',
              'source': 'owned | <b>', 'algorithm': 7}  # fmt: skip
    for training in (stored, {'rows': 3, 'metric': 4, 'changes': 5}):
        meta = {'mae': {'training': training, 'facts': {'num_heads': 3, 'decoder_num_heads': 4}}}
        torch.save({'state_dict': model.state_dict(), 'meta': meta}, source)
        out = tmp_path / f'out{len(training)}'
        convert(source, out, 'transformers')
        card = (out / 'README.md').read_text()
        assert 'owned' not in card
        assert ('| data | ImageFolder |' in card) == (training is stored)


@pytest.mark.parametrize(
    'meta',
    [
        {'epoch': '3\n\n# owned', 'step': [1], 'best': 'high', 'versions': 7},
        {'cfg': {'model': {'type': '<script>'}, 'train_dataloader': 3}, 'versions': {'mae': 'a|b'}},
        {'cfg': 'model = 1', 'best': float('nan')},
    ],
)
def test_card_of_a_hostile_checkpoint(meta, checkpoint, tmp_path):
    model, source = pretrained(checkpoint)
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, source)
    facts = {'num_heads': 3, 'decoder_num_heads': 4}
    convert(source, tmp_path / 'out', 'transformers', facts=facts)
    card = (tmp_path / 'out/README.md').read_text()
    assert not re.search(r'owned|script|nan\b|a\|b', card)
    assert set(header_of(tmp_path / 'out')) == {'library_name', 'tags'}


def test_card_of_published_weights_names_their_licence(checkpoint, tmp_path):
    model, _ = pretrained(checkpoint)
    name = 'mae_visualize_vit_base.pth'  # published without a checksum
    torch.save(model.state_dict(), tmp_path / name)
    convert(tmp_path / name, tmp_path / 'out', 'transformers',
            facts={'num_heads': 3, 'decoder_num_heads': 4})  # fmt: skip
    assert header_of(tmp_path / 'out')['license'] == 'cc-by-nc-4.0'


def test_code_of_the_card_runs(checkpoint, photo, tmp_path, capsys, monkeypatch):
    _, source = pretrained(checkpoint)
    config = load_config(PRETRAIN, SMALL)
    done = convert(source, tmp_path / 'out', 'transformers', encoder_only=True)
    (code,) = re.findall(r'```python\n(.*?)```', (done.out / 'README.md').read_text(), re.S)
    code = code.replace('OWNER/NAME', str(done.out)).replace('image.jpg', str(photo))
    names: dict = {'CONFIG': config}
    exec(code, names)  # noqa: S102  (the code that our card tells a reader to run)
    assert type(names['model']).__name__ == 'MAE'
    assert len(json.loads(capsys.readouterr().out)[0]) == 197


def test_sixteen_bits_have_no_pipeline(checkpoint, tmp_path):
    model, source = pretrained(checkpoint)
    loader = {'dataset': {'pipeline': [{'type': 'DecodeImage', 'bits': 16}]}}
    meta = {'cfg': {'train_dataloader': loader}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, source)
    done = convert(source, tmp_path / 'out', 'timm', facts={'num_heads': 3}, encoder_only=True)
    what = 'open images as RGB of 8 bits, and this model takes 3 channels of 16 bits'
    assert any(what in line for line in done.lines)
    card = (tmp_path / 'out/README.md').read_text()
    assert what in card
    assert 'import pipeline' not in card


def test_what_cannot_be(checkpoint, tmp_path):
    _, source = pretrained(checkpoint)
    done = convert(source, tmp_path / 'whole', 'transformers')
    assert any('hides patches at random; encoder_only' in line for line in done.lines)
    with pytest.raises(CheckpointError, match=r'or be a folder without a dot in its name'):
        convert(source, tmp_path / 'a.b', 'timm')
    assert not Path(tmp_path / 'a.b').exists()
    for to in ('timm', 'mae'):
        with pytest.raises(CheckpointError, match=r'cannot be written: .*run\.pth is no folder'):
            convert(source, source / 'deep' / 'x.pth', to)
