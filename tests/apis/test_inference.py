"""Features and classes of images, whatever people have them as."""

import copy
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from mae.apis import FeatureExtractor, ImageClassifierInferencer, get_model, load_config
from mae.apis.images import ReadImage
from mae.registry import TRANSFORMS
from mae.utils import precision
from mae.utils.errors import DataError

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
ARCH = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}
TUNED = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'


@pytest.fixture(scope='module')
def config():
    return load_config(TUNED, {'model.encoder.arch': ARCH, 'model.head.init_std': 1.0})


@pytest.fixture(scope='module')
def model(config):
    torch.manual_seed(0)
    return get_model(config)


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (5, 1, 16, 16), dtype=torch.uint8)


@pytest.fixture
def folder(pixels, tmp_path):
    """Five images, and among them one that is none."""
    root = tmp_path / 'images'
    root.mkdir()
    for index, image in enumerate(pixels):
        Image.fromarray(image[0].numpy()).save(root / f'{index}.png')
    (root / '2-broken.jpg').write_bytes(b'\xff\xd8\xff no image')
    return root


def expected(model, pixels):
    with torch.inference_mode():
        images = model.data_preprocessor({'inputs': pixels}, False)['inputs']
        return model.extract_features(images), model(images)


@pytest.mark.parametrize('kind', ['batch', 'rows', 'PIL', 'paths', 'folder', 'generator', 'mixed'])
def test_all_kinds_of_images_give_the_same(model, pixels, folder, kind):
    paths = [folder / f'{index}.png' for index in range(5)]
    arrays = list(pixels.permute(0, 2, 3, 1).numpy())
    (folder / '2-broken.jpg').unlink()
    images = {
        'batch': pixels,
        'rows': np.stack(arrays),
        'PIL': [Image.open(path) for path in paths],
        'paths': [str(path) for path in paths],
        'folder': folder,
        'generator': iter(arrays),
        'mixed': [paths[0], arrays[1][..., 0], pixels[2], Image.open(paths[3]), arrays[4]],
    }[kind]
    result = FeatureExtractor(model, batch_size=2, progress=False)(images)
    torch.testing.assert_close(result.features, expected(model, pixels)[0])
    assert not result.failed
    on_disk = kind in ('paths', 'folder')
    assert result.names == (list(map(str, paths)) if on_disk else result.names)
    assert on_disk or result.names[1] == 'image 1'


def test_one_image(model, pixels):
    for image in (pixels[0], pixels[0, 0].numpy(), Image.fromarray(pixels[0, 0].numpy())):
        result = FeatureExtractor(model)(image)
        torch.testing.assert_close(result.features, expected(model, pixels[:1])[0])


def test_batches_do_not_change_the_order(model, pixels):
    alone = FeatureExtractor(model, batch_size=1, num_threads=3)(pixels)
    together = FeatureExtractor(model, batch_size=5)(pixels)
    torch.testing.assert_close(alone.features, together.features)
    assert alone.names == together.names


@pytest.mark.parametrize(
    ('pool', 'shape'), [('avg', (5, 16)), ('cls', (5, 16)), ('tokens', (5, 17, 16))]
)
def test_pools(model, pixels, pool, shape):
    assert FeatureExtractor(model, pool=pool)(pixels).features.shape == shape


def test_unreadable_images_are_named_and_counted_and_the_rest_is_done(
    model, pixels, folder, capsys
):
    result = FeatureExtractor(model, batch_size=2, progress=False)(folder)
    torch.testing.assert_close(result.features, expected(model, pixels)[0])
    (failure,) = result.failed
    assert failure.name == str(folder / '2-broken.jpg')
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f'skipped {failure.name}: cannot be decoded')
    assert lines[1].startswith('1 of 6 images ')


def test_array_of_another_kind_is_named(model, pixels):
    result = FeatureExtractor(model)([pixels[0], pixels[1].float(), 'gone.png', 3])
    assert result.names == ['image 0']
    reasons = [failure.reason for failure in result.failed]
    assert reasons[0].startswith('image 1: img must be uint8')
    assert reasons[1].startswith('gone.png: cannot be decoded')
    assert reasons[2].startswith('image 3: ')
    assert reasons[2].endswith(': int')


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        ('gone.png', r'gone\.png: cannot be decoded'),
        (['gone.png', 'lost.png'], 'none of 2 images'),
        ([], 'no images given'),
    ],
)
def test_nothing_to_read(model, images, message):
    with pytest.raises(DataError, match=message):
        FeatureExtractor(model)(images)


def test_empty_folder(model, tmp_path):
    with pytest.raises(DataError, match=r'no images; .*\.jpg'):
        FeatureExtractor(model)(tmp_path)


def test_what_no_inferencer_takes(config, model):
    wordless = copy.deepcopy(config)
    wordless.model.encoder.with_cls_token = False
    for message, make in (
        (r'^a Linear is no model of this', lambda: FeatureExtractor(torch.nn.Linear(1, 1))),
        (r"^no device 'cuda:99'", lambda: FeatureExtractor(model, device='cuda:99')),
        (r"^no device is called 'gpu'", lambda: FeatureExtractor(model, device='gpu')),
        (
            r'^topk must be a whole number from 1 on, not 0$',
            lambda: ImageClassifierInferencer(model, topk=0),
        ),
        (
            r"^pool='cls' needs an encoder with_cls_token=True$",
            lambda: FeatureExtractor(wordless, False, pool='cls'),
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_classes_are_named(model, pixels, tmp_path):
    logits = expected(model, pixels)[1]
    names = list('abcdefghij')
    result = ImageClassifierInferencer(model, classes=names, topk=3)(pixels)
    for row, image in zip(logits, result.images, strict=True):
        scores, labels = row.softmax(0).topk(3)
        assert image.labels == labels.tolist()
        assert image.classes == [names[label] for label in labels]
        assert image.scores == pytest.approx(scores.tolist())
    numbers = ImageClassifierInferencer(model)(pixels).images[0]
    assert numbers.classes == [str(label) for label in numbers.labels]
    assert len(ImageClassifierInferencer(model, topk=99)(pixels[0]).images[0].labels) == 10


def test_classes_come_with_the_weights(config, model, pixels, tmp_path):
    meta = {'classes': list('abcdefghij')}
    torch.save({'meta': meta, 'state_dict': model.state_dict()}, tmp_path / 'a.pth')
    result = ImageClassifierInferencer(config, tmp_path / 'a.pth')(pixels[0])
    assert result.images[0].classes[0] in meta['classes']


def test_what_does_not_classify(model, pixels):
    pre_training = load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16')
    with pytest.raises(ValueError, match=r'MAE .*fine-tuned'):
        ImageClassifierInferencer(pre_training, False)
    with pytest.raises(ValueError, match='2 names for 10 classes'):
        ImageClassifierInferencer(model, classes=['a', 'b'])
    with pytest.raises(ValueError, match="pool must be 'avg'"):
        FeatureExtractor(model, pool='max')
    for count in (0, 2.5, '2', True):
        with pytest.raises(ValueError, match=r'^batch_size and num_threads must be whole [^\n]*$'):
            FeatureExtractor(model, batch_size=count)
    with pytest.raises(ValueError, match=r'^no device is called None: [^\n]*$'):
        FeatureExtractor(model, device=None)


def test_a_head_without_weights_does_not_classify(config, model, arguments, tmp_path):
    encoder = {name: v for name, v in model.state_dict().items() if name.startswith('encoder.')}
    torch.save({'state_dict': encoder}, tmp_path / 'weights.pth')
    message = r'no head that fits \(head\..*\).* 10 classes'
    with pytest.raises(ValueError, match=message):
        ImageClassifierInferencer(config, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=message):
        call('converters/export_onnx', *arguments, tmp_path / 'out.onnx')
    assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', 224),
        ('vit-huge-p14_ft-32xb32-amp-coslr-50e_in1k-448', 448),
    ],
)
def test_images_are_seen_as_the_recipe_evaluates(tmp_path, name, size):
    photo = np.random.default_rng(0).integers(0, 256, (500, 610, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / 'photo.png')
    *steps, pack = load_config(name).test_dataloader.dataset.pipeline
    assert (steps[-1]['size'], pack.type) == (size, 'PackInputs')
    results = {'img_path': str(tmp_path / 'photo.png')}
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    assert torch.equal(ReadImage(3, (size, size))(tmp_path / 'photo.png'), results['img'])


def test_shape_that_is_not_square():
    image = torch.arange(40 * 90, dtype=torch.int32).remainder(251).to(torch.uint8)
    image = image.reshape(1, 40, 90)
    read = ReadImage(1, (20, 30))(image)
    assert read.shape == (1, 20, 30)
    middle = ReadImage(1, (40, 60))(image)
    assert torch.equal(middle, image[:, :, 15:75])


# --- tools ----------------------------------------------------------------------------------


@pytest.fixture
def arguments(config, model, tmp_path):
    config.dump(tmp_path / 'config.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'weights.pth')
    return [str(tmp_path / 'config.py'), '--weights', str(tmp_path / 'weights.pth')]


def call(tool, *argv):
    runpy.run_path(str(TOOLS / f'{tool}.py'))['main']([*map(str, argv)])


@pytest.mark.parametrize('suffix', ['npy', 'npz', 'safetensors'])
def test_extract_features(arguments, model, pixels, folder, tmp_path, capsys, suffix):
    out = tmp_path / 'new' / f'features.{suffix}'
    call('extract_features', *arguments, '--out', out, '--batch-size', 2, folder)
    names = [str(folder / f'{index}.png') for index in range(5)]
    if suffix == 'npz':
        found = np.load(out)
        features = found['features']
        assert found['names'].tolist() == names
    elif suffix == 'npy':
        features = np.load(out)
        assert (tmp_path / 'new/features.npy.txt').read_text().splitlines() == names
    else:
        with safe_open(out, 'numpy') as found:
            features = found.get_tensor('features')
            assert json.loads(found.metadata()['names']) == names
    np.testing.assert_allclose(features, expected(model, pixels)[0], rtol=1e-5, atol=1e-6)
    assert len(list(out.parent.iterdir())) == (2 if suffix == 'npy' else 1)
    told = capsys.readouterr()
    assert told.out == f'wrote {out}: 5 x 16\n'
    assert '1 of 6 images ' in told.err


def test_predict(arguments, model, pixels, folder, tmp_path, capsys):
    (tmp_path / 'names.txt').write_text('\n'.join('abcdefghij'))
    options = [*arguments, '--classes', tmp_path / 'names.txt', '--topk', 2]
    call('predict', *options, folder / '0.png', folder / '1.png')
    lines = capsys.readouterr().out.splitlines()
    best = expected(model, pixels[:2])[1].argmax(dim=1)
    assert lines[::3] == [str(folder / '0.png'), str(folder / '1.png')]
    assert [line[-1] for line in lines[1::3]] == ['abcdefghij'[label] for label in best]
    call('predict', *options, '--out', tmp_path / 'out.json', folder)
    written = json.loads((tmp_path / 'out.json').read_text())
    assert len(written['images']) == 5
    assert len(written['failed']) == 1
    assert written['images'][0]['labels'][0] == best[0]


def test_names_that_are_no_text_are_predicted_and_told(arguments, pixels, tmp_path, capsys):
    (tmp_path / 'images/._x.png').parent.mkdir()
    (tmp_path / 'images/._x.png').write_bytes(b'no image')
    path = tmp_path / 'images' / os.fsdecode(b'\xff.png')
    Image.fromarray(pixels[0, 0].numpy()).save(str(path), 'PNG')
    (tmp_path / 'names.txt').write_bytes('\r\n'.join('abcdefghij').encode('utf-8-sig'))
    options = [*arguments, '--classes', tmp_path / 'names.txt', '--topk', 10]
    call('predict', *options, tmp_path / 'images')
    told = capsys.readouterr()
    first, *lines = told.out.splitlines()
    assert first == f'{tmp_path}/images/\\udcff.png'
    assert sorted(line.split()[-1] for line in lines) == list('abcdefghij')
    assert 'skipped' not in told.err
    call('predict', *options, '--out', tmp_path / 'out.json', path)
    (image,) = json.loads((tmp_path / 'out.json').read_text())['images']
    assert image['name'] == str(path)


@pytest.mark.parametrize(
    ('tool', 'argv', 'message'),
    [
        ('extract_features', ['m', 'i.png', '--out', 'a.csv'], '--out must end in .npy, .npz'),
        ('extract_features', ['m', 'i.png'], '--out'),
        ('predict', ['m', 'i.png', '--out', 'a.csv'], '--out must end in .json'),
        ('predict', ['m', 'i.png', '--topk', '0'], '--topk must be at least 1'),
        ('predict', ['m'], 'IMAGE'),
        ('download', [], 'give a name, or --list'),
        ('download', ['a', '--list'], 'give a name, or --list'),
    ],
)
def test_malformed_command_line(tool, argv, message, capsys):
    with pytest.raises(SystemExit) as end:
        call(tool, *argv)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_download_of_a_pattern_that_nothing_matches():
    with pytest.raises(ValueError, match=r"'resnet'; `mae zoo list` shows all"):
        call('download', '--list', 'resnet')


def test_download_lists_names_with_their_licence(capsys):
    call('download', '--list', '*large*ganloss')
    assert capsys.readouterr().out == (
        'mae_vit-large-p16_authors-pixels-ganloss\n'
        '    mae_visualize_vit_large_ganloss.pth, the authors, CC-BY-NC-4.0\n'
    )


@pytest.mark.parametrize(
    'tool', ['download', 'predict', 'extract_features', 'converters/export_onnx']
)
def test_help_needs_no_imports(tool):
    code = (
        'import runpy, sys\n'
        "sys.argv = ['tool.py', '--help']\n"
        f"try: runpy.run_path({str(TOOLS / f'{tool}.py')!r}, run_name='__main__')\n"
        'except SystemExit as end: assert not end.code\n'
        "assert not {'torch', 'mmengine', 'rich'} & set(sys.modules)"
    )
    command = [sys.executable, '-c', code]
    env = {**os.environ, 'PYTHONPATH': str(TOOLS.parent)}
    text = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert 'usage: ' in text


@pytest.mark.parametrize(
    ('trained', 'evaluated', 'amp', 'expected'),
    [
        ('bfloat16', 'as_trained', 'as_trained', torch.bfloat16),
        ('bfloat16', None, 'as_trained', None),
        (None, 'bfloat16', 'as_trained', torch.bfloat16),
        (None, 'as_trained', 'as_trained', None),
        ('bfloat16', 'as_trained', None, None),
        (None, 'as_trained', 'bfloat16', torch.bfloat16),
    ],
)
def test_precision(config, pixels, monkeypatch, capsys, trained, evaluated, amp, expected):
    monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: True)
    config = copy.deepcopy(config)
    config.optim_wrapper.amp, config.eval_amp = trained, evaluated
    extract, seen = FeatureExtractor(config, False, amp=amp), []
    compute = extract.model.extract_features

    def spied(*args):
        enabled = torch.is_autocast_enabled('cpu')
        seen.append(torch.get_autocast_dtype('cpu') if enabled else None)
        return compute(*args)

    monkeypatch.setattr(extract.model, 'extract_features', spied)
    assert extract(pixels).features.dtype == torch.float32
    assert seen == [expected]
    told = 'computing in bfloat16, as trained' in capsys.readouterr().err
    assert told == (amp == 'as_trained' and expected is not None)


def test_another_precision(model):
    with pytest.raises(ValueError, match=r"^eval_amp must be 'bfloat16', .*, not 'half'$"):
        FeatureExtractor(model, amp='half')
