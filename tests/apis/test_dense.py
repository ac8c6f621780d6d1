"""Label maps and objects of images of any kind and size, and the files they are written to."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mae.apis import (
    DetectionInferencer,
    ImageClassifierInferencer,
    SegmentationInferencer,
    get_model,
    init_model,
    load_config,
)
from mae.apis.dense import ReadDenseImage, image_pipeline
from mae.apis.segment import save_segmentations, write_map
from mae.datasets import collate_dense
from mae.registry import DATASETS, TRANSFORMS
from mae.utils.errors import CheckpointError, ConfigError, DataError, NonFiniteError
from mae.utils.run_lengths import decode_mask
from tests.dense_runs import DETECTOR, SEGMENTER

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SIZES = [(32, 32), (37, 91), (3, 50), (130, 70)]
NAMES = [f'digit {n}' for n in range(10)]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """By task: path of the config, of fresh weights with names of classes, and the model."""
    folder = tmp_path_factory.mktemp('dense')
    found = {}
    for task, text in (('segment', SEGMENTER), ('detect', DETECTOR)):
        config, weights = folder / f'{task}.py', folder / f'{task}.pth'
        config.write_text(text)
        torch.manual_seed(1)
        model = init_model(load_config(config))
        names = NAMES if task == 'detect' else ['canvas', *NAMES]
        state = {'state_dict': model.state_dict(), 'meta': {'classes': names}}
        torch.save(state, weights)
        found[task] = config, weights, model
    return found


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'images'
    root.mkdir()
    noise = np.random.default_rng(0)
    for number, (height, width) in enumerate(SIZES):
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f'{number}.png')
    (root / '2-broken.jpg').write_bytes(b'\xff\xd8\xff no image')
    return root


def call(tool, *argv):
    runpy.run_path(str(TOOLS / f'{tool}.py'))['main']([*map(str, argv)])


def evaluated(config, model):
    """The first scenes, and what evaluation finds in them."""
    dataset = DATASETS.build(load_config(config).test_dataloader.dataset)
    batch = collate_dense([dataset[number] for number in range(3)])
    with torch.inference_mode():
        return batch['inputs'], model(**model.data_preprocessor(batch), mode='predict')


def test_predictions_are_those_of_evaluation(runs):
    config, weights, model = runs['segment']
    images, (output,) = evaluated(config, model)
    segment = SegmentationInferencer(config, weights, batch_size=2)
    result = segment(images)
    assert [found.name for found in result.images] == ['image 0', 'image 1', 'image 2']
    for found, expected in zip(result.images, output['pred_maps'], strict=True):
        assert np.array_equal(found.labels, expected.numpy())
        assert sum(found.shares.values()) == pytest.approx(1)
    config, weights, model = runs['detect']
    images, outputs = evaluated(config, model)
    result = DetectionInferencer(config, weights, batch_size=2)(images)
    for found, output in zip(result.images, outputs, strict=True):
        expected = output['detections']
        # Batches of other sizes round otherwise.
        assert found.boxes == pytest.approx(np.asarray(expected['boxes']), abs=1e-3)
        assert found.scores == pytest.approx(expected['scores'].tolist(), abs=1e-5)
        assert found.classes == [NAMES[label] for label in expected['classes'].tolist()]
        assert np.array_equal(found.masks(), expected['masks'].numpy())


def test_images_of_any_size_and_those_that_are_none(runs, folder, capsys):
    for task, kind in (('segment', SegmentationInferencer), ('detect', DetectionInferencer)):
        config, weights, _ = runs[task]
        result = kind(config, weights)(folder)
        assert [Path(found.name).name for found in result.images] == [f'{n}.png' for n in range(4)]
        assert [Path(failure.name).name for failure in result.failed] == ['2-broken.jpg']
        assert '1 of 5 images could not be read' in capsys.readouterr().err
        for found, (height, width) in zip(result.images, SIZES, strict=True):
            if task == 'segment':
                assert found.labels.shape == (height, width)
                continue
            assert found.size == (height, width)
            boxes = np.array(found.boxes)
            assert len(boxes)
            assert (boxes >= 0).all()
            assert (boxes <= np.array([width, height, width, height]) + 1e-3).all()
            assert found.masks().shape == (len(boxes), height, width)
    with pytest.raises(DataError, match=r'broken\.jpg: cannot be decoded'):
        kind(config, weights)(folder / '2-broken.jpg')


def test_the_segmenter_tool_writes_maps(runs, folder, tmp_path, capsys):
    config, weights, _ = runs['segment']
    out = tmp_path / 'new' / 'maps'
    call('predict', config, folder, folder / '1.png', '--weights', weights, '--out', out)
    assert f'wrote {out}: label maps of 5 images' in capsys.readouterr().out
    written = json.loads((out / 'predictions.json').read_text())
    assert written['classes'] == ['canvas', *NAMES]
    assert [image['map'] for image in written['images']] == [
        '0.png', '1.png', '2.png', '3.png', '1-2.png',
    ]  # fmt: skip
    assert len(written['failed']) == 1
    (expected,) = SegmentationInferencer(config, weights)(folder / '1.png').images
    with Image.open(out / '1.png') as picture:
        assert picture.mode == 'P'
        assert np.array_equal(np.asarray(picture), expected.labels)
        colour = picture.getpalette()[3:6]
    assert colour == written['colours'][1]
    assert written['images'][1]['shares'] == pytest.approx(expected.shares)
    with pytest.raises(DataError, match=r'maps exists; give another name'):
        call('predict', config, folder, '--weights', weights, '--out', out)
    call('predict', config, folder / '0.png', '--weights', weights, '--topk', 2)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_detector_tool_writes_what_pycocotools_reads(runs, folder, tmp_path, capsys):
    config, weights, _ = runs['detect']
    out, known = tmp_path / 'found.json', tmp_path / 'instances.json'
    images = [folder / '1.png', folder / '0.png']
    call('predict', config, *images, '--weights', weights, '--out', out, '--min-score', '0.05')
    rows = json.loads(out.read_text())
    assert {row['image_id'] for row in rows} == {1, 2}
    found = DetectionInferencer(config, weights, min_score=0.05)(images).images
    assert len(rows) == sum(len(each.boxes) for each in found)
    left, top, right, bottom = found[0].boxes[0]
    assert rows[0]['bbox'] == [left, top, right - left, bottom - top]
    assert rows[0]['score'] == found[0].scores[0] >= 0.05
    assert rows[0]['category_id'] == found[0].labels[0] + 1
    assert rows[0]['category_name'] == found[0].classes[0]
    assert np.array_equal(decode_mask(rows[0]['segmentation']), found[0].masks()[0])

    categories = [{'id': 90 - n, 'name': name} for n, name in enumerate(NAMES)]
    content = {'images': [{'id': 7, 'file_name': '0.png'}, {'id': 5, 'file_name': 'images/1.png'}]}
    sizes = ({'height': h, 'width': w} for h, w in SIZES)
    for image, size in zip(content['images'], sizes, strict=False):
        image.update(size)
    known.write_text(json.dumps({**content, 'categories': categories, 'annotations': []}))
    argv = [config, *images, '--weights', weights, '--out', out, '--annotations', known]
    call('predict', *argv)
    rows = json.loads(out.read_text())
    assert {row['image_id'] for row in rows} == {5, 7}
    assert all(row['category_id'] == 90 - NAMES.index(row['category_name']) for row in rows)
    if _has('pycocotools'):
        from pycocotools.coco import COCO

        assert len(COCO(known).loadRes(str(out)).anns) == len(rows)

    capsys.readouterr()  # pycocotools prints
    before = out.read_text()
    with pytest.raises(DataError, match=r'2\.png: not among the 2 images of .*instances\.json'):
        call('predict', config, folder / '2.png', *argv[1:])
    known.write_text(json.dumps({**content, 'categories': categories[1:]}))
    with pytest.raises(DataError, match=r"no category 'digit 0', .*1 of 10 are missing"):
        call('predict', *argv)
    known.write_text('{}')
    with pytest.raises(DataError, match=r'instances\.json: no annotation file of COCO: it needs'):
        call('predict', *argv)
    assert out.read_text() == before
    call('predict', config, images[0], '--weights', weights, '--topk', 2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith('  and ')


def _has(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def test_nothing_is_left_of_a_folder_that_fails(runs, folder, tmp_path):
    config, weights, _ = runs['segment']
    segment = SegmentationInferencer(config, weights)
    with pytest.raises(DataError, match='cannot be decoded'):
        save_segmentations(segment, folder / '2-broken.jpg', tmp_path / 'maps')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['images']


@pytest.mark.parametrize(
    ('task', 'argv', 'message'),
    [
        ('segment', ['--out', 'a.json'], r'a\.json: a segmenter writes a folder of maps'),
        ('detect', ['--out', 'a'], r'a: predictions go to a \.json file'),
        ('segment', ['--out', 'a', '--annotations', 'b.json'], 'is for detectors, not for a Segm'),
    ],
)
def test_a_file_of_another_task(runs, folder, tmp_path, monkeypatch, task, argv, message):
    monkeypatch.chdir(tmp_path)
    config, weights, _ = runs[task]
    with pytest.raises(ConfigError, match=message):
        call('predict', config, folder, '--weights', weights, *argv)
    assert [path.name for path in tmp_path.iterdir()] == ['images']


def test_models_of_another_task(runs):
    segmenter, detector = runs['segment'][2], runs['detect'][2]
    with pytest.raises(ValueError, match='takes a Segmenter, and this is a Detector'):
        SegmentationInferencer(detector)
    with pytest.raises(ValueError, match='takes a Detector, and this is a Segmenter'):
        DetectionInferencer(segmenter)
    for model in (segmenter, detector):
        with pytest.raises(ValueError, match='gives no one class: take SegmentationInferencer or'):
            ImageClassifierInferencer(model)
    classifier = get_model('vit-mini-p4_ft-1xb50-coslr-80e_digits-16')
    with pytest.raises(ValueError, match='takes a Segmenter, and this is a Classifier'):
        SegmentationInferencer(classifier)


def test_weights_that_lack_a_part_or_are_broken(runs, tmp_path):
    config, weights, _ = runs['segment']
    state = torch.load(weights, weights_only=True)['state_dict']
    encoder = {name: value for name, value in state.items() if name.startswith('encoder.')}
    torch.save({'state_dict': encoder}, tmp_path / 'encoder.pth')
    with pytest.raises(CheckpointError, match=r'not of a whole Segmenter: head\.'):
        SegmentationInferencer(config, tmp_path / 'encoder.pth')
    state['head.fc.bias'][3] = float('nan')
    torch.save({'state_dict': state}, tmp_path / 'nan.pth')
    with pytest.raises(NonFiniteError, match=r'^head\.fc\.bias holds NaN'):
        SegmentationInferencer(config, tmp_path / 'nan.pth')


def test_options_that_cannot_be(runs):
    model = runs['detect'][2]
    with pytest.raises(ValueError, match=r'min_score must lie in 0\.\.1, not 1\.5'):
        DetectionInferencer(model, min_score=1.5)
    with pytest.raises(ValueError, match='2 names for 10 classes'):
        DetectionInferencer(model, classes=['a', 'b'])
    with pytest.raises(ConfigError, match='RandomFlip, which draws at random'):
        DetectionInferencer(model, pipeline=[{'type': 'RandomFlip'}])


def test_the_image_is_read_as_the_config_tests_it():
    dataset = {
        'pipeline': [
            {'type': 'DecodeImage', 'channels': 1},
            {'type': 'mae.ResizeInside', 'long_side': 64},
            {'type': 'LoadInstances'},
            {'type': 'Pad', 'size': 64},
            {'type': 'PackDense'},
        ]
    }
    config = type('C', (dict,), {})(test_dataloader={'dataset': dataset})
    kept = image_pipeline(config)
    assert [each['type'] for each in kept] == ['DecodeImage', 'mae.ResizeInside', 'Pad']
    image = ReadDenseImage(3, kept, patch_size=16)(np.zeros((20, 40, 3), np.uint8))
    assert image.inputs.shape == (1, 64, 64)
    assert image.shape == (32, 64)
    assert image.original == (20, 40)
    # Relative positions end at the image size that they were made for.
    image = ReadDenseImage(1, patch_size=4, largest=(32, 32))(np.zeros((100, 50), np.uint8))
    assert image.inputs.shape == (1, 32, 16)


def test_more_classes_than_a_byte_holds(tmp_path):
    labels = np.array([[0, 255, 256], [919, 4, 300]], np.int16)
    write_map(tmp_path / 'map.png', labels, 920)
    load = TRANSFORMS.build({'type': 'LoadMap', 'encoding': 'rg', 'ignore_index': 1000})
    results = {'img': torch.zeros(3, 2, 3), 'map_path': str(tmp_path / 'map.png')}
    assert np.array_equal(load(results)['map'].numpy(), labels)


def test_the_picture_tool_draws_images_and_the_dataset(runs, folder, tmp_path, capsys):
    config, weights, _ = runs['segment']
    call('visualization/predict_dense', config, weights, '--num', 2, '--out', tmp_path / 'a.html')
    html = (tmp_path / 'a.html').read_text()
    assert html.count('<img src="data:image/png') == 6
    assert html.count('<script') == 0
    config, weights, _ = runs['detect']
    call('visualization/predict_dense', config, weights, folder, '--out', tmp_path / 'b.png')
    with Image.open(tmp_path / 'b.png') as picture:
        assert picture.height > 4 * 100
    assert 'b.png: 4 images' in capsys.readouterr().out
    with pytest.raises(ConfigError, match='sample 9 of a dataset of 8 samples'):
        call('visualization/predict_dense', config, weights, '--first', 8, '--num', 2)
    digits = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'
    model = get_model(digits)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'digits.pth')
    with pytest.raises(ValueError, match='is a Classifier: only a Segmenter or a Detector'):
        call('visualization/predict_dense', digits, tmp_path / 'digits.pth', folder)


def test_malformed_command_lines(capsys):
    for argv, message in (
        (['c', 'w', '--out', 'a.jpg'], '--out must end in .png or .html'),
        (['c', 'w', '--num', '0'], '--num must be at least 1'),
        (['c', 'w', '--min-score', '2'], '--min-score must lie in 0..1'),
    ):
        with pytest.raises(SystemExit) as end:
            call('visualization/predict_dense', *argv)
        assert end.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call('predict', 'c', 'i.png', '--annotations', 'a.json')
    assert '--annotations is for the file of --out' in capsys.readouterr().err
