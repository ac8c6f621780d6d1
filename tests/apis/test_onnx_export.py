"""ONNX files compute what the model computes, for any number of images."""

import copy
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from mae.apis import ImageClassifierInferencer, get_model, load_config, onnx_export
from mae.apis.onnx_export import export_onnx
from mae.registry import MODELS
from mae.utils.errors import CheckpointError

pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')

TOOL = Path(__file__).resolve().parents[2] / 'tools/converters/export_onnx.py'
OPTIONS = {
    'model.encoder.arch': {'embed_dim': 16, 'depth': 1, 'num_heads': 2},
    'model.encoder.img_size': (8, 12),
}


def small(name, **options):
    return load_config(name, {**OPTIONS, **options})


def test_classifier_of_uint8_images(tmp_path, capsys):
    config = small('vit-mini-p4_ft-1xb50-coslr-80e_digits-16', **{'model.head.init_std': 1.0})
    config.dump(tmp_path / 'config.py')
    model = get_model(config)
    meta = {'classes': [f'digit {label}' for label in range(10)]}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, tmp_path / 'weights.pth')
    out = tmp_path / 'new' / 'model.onnx'
    files = [str(path) for path in (tmp_path / 'config.py', out)]
    main = runpy.run_path(str(TOOL))['main']
    main([*files, '--weights', str(tmp_path / 'weights.pth'), '--uint8'])
    assert f'wrote {out}: logits' in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ['model.onnx']

    session = onnxruntime.InferenceSession(out)
    assert facts_of(session)['classes'] == meta['classes']
    for batch in (1, 5):
        images = torch.randint(0, 256, (batch, 1, 8, 12), dtype=torch.uint8)
        with torch.no_grad():
            logits = model(model.data_preprocessor({'inputs': images}, False)['inputs'])
        (found,) = session.run(['logits'], {'images': images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), logits, rtol=1e-4, atol=1e-5)


def facts_of(session):
    """What a file states, read as a program without this toolbox reads it."""
    stated = session.get_modelmeta().custom_metadata_map
    return {name: json.loads(text) for name, text in stated.items()}


@pytest.mark.parametrize('uint8', [False, True])
def test_file_alone_names_the_class_of_a_photo(uint8, tmp_path):
    classes = ['temple', 'a "tree"', 'sky', 'é', '']
    config = load_config(
        'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
        {**OPTIONS, 'model.encoder.img_size': 32, 'model.head.num_classes': 5,
         'model.head.init_std': 1.0},
    )  # fmt: skip
    model = get_model(config)
    export_onnx(model, tmp_path / 'a.onnx', uint8=uint8, classes=classes)
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (48, 72, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / 'photo.png')

    session = onnxruntime.InferenceSession(tmp_path / 'a.onnx')
    facts = facts_of(session)
    H, W = facts['image_size']
    scale = facts['short_side'] / 48
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None]
    size = [round(48 * scale), round(72 * scale)]
    pixels = interpolate(planes, size=size, mode='bicubic', antialias=True)
    top, left = (size[0] - H) // 2, (size[1] - W) // 2
    image = pixels[..., top : top + H, left : left + W].numpy()
    if facts['input'] == 'float32':
        mean, std = (np.reshape(facts[name], (-1, 1, 1)) for name in ('mean', 'std'))
        image = ((image - mean) / std).astype(np.float32)
    (logits,) = session.run(['logits'], {'images': image})
    (ours,) = ImageClassifierInferencer(model, classes=classes)(tmp_path / 'photo.png').images
    order = np.argsort(-logits[0], kind='stable')
    assert [facts['classes'][label] for label in order] == ours.classes


def test_names_of_classes_must_fit(tmp_path):
    model = get_model(small('vit-mini-p4_ft-1xb50-coslr-80e_digits-16'))
    with pytest.raises(ValueError, match='2 names for 10 classes'):
        export_onnx(model, tmp_path / 'a.onnx', classes=['a', 'b'])
    assert not list(tmp_path.iterdir())


def test_segmenter_gives_logits_of_patches_and_offsets_are_refused(tmp_path):
    encoder = {
        'type': 'DenseViTEncoder', 'arch': OPTIONS['model.encoder.arch'], 'img_size': (8, 12),
        'patch_size': 4, 'with_cls_token': False,
    }  # fmt: skip
    config = {
        'type': 'Segmenter',
        'taps': [0],
        'head': {'type': 'PixelLinearHead', 'num_classes': 5, 'init_std': 1.0},
        'loss': {'type': 'PixelCrossEntropyLoss'},
        'preprocessor': {'type': 'DensePreprocessor', 'mean': [120.0] * 3, 'std': [60.0] * 3},
    }
    model = MODELS.build({**config, 'encoder': encoder}).eval()
    assert export_onnx(model, tmp_path / 'a.onnx').output == 'logits'
    session = onnxruntime.InferenceSession(tmp_path / 'a.onnx')
    images = torch.randn(4, 3, 8, 12)
    (found,) = session.run(['logits'], {'images': images.numpy()})
    assert found.shape == (4, 5, 2, 3)
    for options in (dict(rel_pos='axes'), dict(rel_pos='table'), dict(window_size=2)):
        model = MODELS.build({**config, 'encoder': {**encoder, **options}})
        with pytest.raises(ValueError, match='relative positions cannot be exported to ONNX'):
            export_onnx(model, tmp_path / 'b.onnx')
    assert not (tmp_path / 'b.onnx').exists()


@pytest.fixture(scope='module')
def encoder(tmp_path_factory):
    """A model, its file, the report, and what torch's exporter had made of it."""
    model = get_model(small('mae_vit-mini-p4_1xb64-coslr-170e_digits-16'))
    out, programs = tmp_path_factory.mktemp('onnx') / 'encoder.onnx', []
    export = torch.onnx.export
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, 'MAX_BYTES', 1000)
        patch.setattr(
            torch.onnx,
            'export',
            lambda *args, **options: programs.append(export(*args, **options)) or programs[0],
        )
        report = export_onnx(model, out, pool='tokens', classes=['a', 'b'])
    return model, out, report, programs[0]


def test_encoder_whose_weights_do_not_fit_into_one_file(encoder):
    model, out, report, _ = encoder
    assert report.output == 'features'
    assert set(report.files) == set(out.parent.iterdir())
    assert {path.name for path in report.files} == {'encoder.onnx', 'encoder.onnx.data'}

    session = onnxruntime.InferenceSession(out)
    images = torch.randn(4, 1, 8, 12)
    with torch.no_grad():
        tokens = model.extract_features(images, 'tokens')
    (found,) = session.run(None, {'images': images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), tokens, rtol=1e-4, atol=1e-5)
    assert facts_of(session) == {  # no names of classes, which features do not have
        'input': 'float32', 'channels': 1, 'image_size': [8, 12], 'mean': [78.0], 'std': [96.0],
    }  # fmt: skip


def test_file_that_computes_something_else_is_not_written(encoder, tmp_path, monkeypatch):
    model, _, _, program = encoder
    out = tmp_path / 'encoder.onnx'
    out.write_bytes(b'older')
    other = copy.deepcopy(model)
    other.encoder.patch_embed.proj.bias.data[:8] += 1
    monkeypatch.setattr(torch.onnx, 'export', lambda *args, **options: program)
    with pytest.raises(CheckpointError, match=r'onnxruntime disagrees .* nothing was written'):
        export_onnx(other, out, pool='tokens')
    assert out.read_bytes() == b'older'
    assert list(tmp_path.iterdir()) == [out]


def test_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match='pip install onnx onnxscript onnxruntime'):
        export_onnx(get_model(small('mae_vit-mini-p4_1xb64-coslr-170e_digits-16')), tmp_path / 'a')


def test_malformed_command_line(capsys):
    with pytest.raises(SystemExit):
        runpy.run_path(str(TOOL))['parse_args'](['m', 'out.pth'])
    assert 'FILE must end in .onnx' in capsys.readouterr().err


def test_wrong_arguments(tmp_path):
    model = get_model(small('vit-mini-p4_ft-1xb50-coslr-80e_digits-16'))
    (tmp_path / 'folder.onnx').mkdir()
    for path, options, message in (
        (
            tmp_path / 'a.onnx',
            {'pool': 'max'},
            "pool is one of avg, cls, tokens or None, not 'max'",
        ),
        (tmp_path / 'caf\udce9.onnx', {}, 'whose name is not UTF-8'),
        (tmp_path / 'a.pth', {}, r'the file to write ends in \.onnx, unlike .*a\.pth'),
        (tmp_path / 'folder.onnx', {}, r'the file to write ends in \.onnx, unlike .*folder'),
    ):
        with pytest.raises(ValueError, match=message):
            export_onnx(model, path, **options)
    (tmp_path / 'file').touch()
    for below in ('file/a.onnx', 'file/b/a.onnx'):  # before anything is computed
        with pytest.raises(NotADirectoryError, match=r"Not a directory: '.*/file'"):
            export_onnx(model, tmp_path / below)
    with pytest.raises(ValueError, match=r'Linear has no encoder: .*get_model'):
        export_onnx(torch.nn.Linear(2, 2), str(tmp_path / 'a.onnx'))
