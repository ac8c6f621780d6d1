"""Wrong label maps and annotation files: a line that names the file, or a documented way."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import mae.datasets.transforms  # noqa: F401  registers
from mae.datasets.seeded import SeededDataset
from mae.datasets.sources.coco import CocoInstances
from mae.datasets.sources.label_maps import LabelMapFolder
from mae.models.preprocessors.dense import unpack_bits
from mae.utils.errors import ConfigError, DataError
from mae.utils.run_lengths import run_lengths
from tests.judges import judge

HEIGHT, WIDTH = 20, 30
DECODE, LOAD, PACK = ({'type': t} for t in ('DecodeImage', 'LoadInstances', 'PackDense'))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


# --- label maps ---------------------------------------------------------------------------


@pytest.fixture
def maps(tmp_path):
    """maps(pixels or bytes, classes=..., **options of LoadMap): a dataset of one image and map."""

    def make(content, *, classes=None, pipeline=(), **options):
        save(tmp_path / 'images' / 'a.png', np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        path = tmp_path / 'maps' / 'a.png'
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save(path, content)
        source = LabelMapFolder(str(tmp_path), 'images', 'maps', classes=classes)
        return SeededDataset(source, [DECODE, {'type': 'LoadMap', **options}, *pipeline, PACK])

    return make


def plain(value=0, dtype=np.uint8):
    return np.full((HEIGHT, WIDTH), value, dtype)


def test_labels_beyond_the_classes_are_counted(maps):
    labels = plain()
    labels[0, :7] = 3
    labels[1] = 255  # ignored
    message = r'a\.png: 7 pixels .* one of the 3 classes nor ignore_index=255, for example 3'
    with pytest.raises(DataError, match=message):
        maps(labels, classes='abc')[0]
    assert maps(labels, classes='abcd')[0]['map'].max() == 255
    assert maps(labels)[0]['map'][0, 0] == 3  # nobody says how many there are: the model's part


def test_the_ignored_label_is_that_of_the_map(maps):
    colours = np.stack([plain(1000 % 256), plain(1000 // 256), plain()], axis=-1)
    options = {'classes': 'ab', 'encoding': 'rg'}
    assert (maps(colours, ignore_index=1000, **options)[0]['map'] == 1000).all()
    with pytest.raises(DataError, match=r'600 pixels .* nor ignore_index=255, for example 1000'):
        maps(colours, **options)[0]
    # A border that is filled with another label than the ignored one.
    pad = [{'type': 'Pad', 'size': 32}]
    with pytest.raises(DataError, match='nor ignore_index=1000, for example 255'):
        maps(colours, ignore_index=1000, pipeline=pad, **options)[0]


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_a_map_stored_as_colours(maps, mode, tmp_path):
    Image.fromarray(plain(1)).convert(mode).save(tmp_path / 'map.png')
    with pytest.raises(DataError, match=rf'a\.png: .*stored as colours \({mode}\)'):
        maps((tmp_path / 'map.png').read_bytes())[0]


def test_a_grey_map_where_colours_are_expected(maps):
    with pytest.raises(
        DataError, match=r"a\.png: .*encoding='rg' needs an RGB file, this one is L"
    ):
        maps(plain(), encoding='rg')[0]


def test_a_palette_gives_its_numbers(maps, tmp_path):
    image = Image.fromarray(plain(2), mode='P')
    image.putpalette([200, 0, 0] * 256)
    image.save(tmp_path / 'map.png')
    assert (maps((tmp_path / 'map.png').read_bytes())[0]['map'] == 2).all()


def test_maps_of_16_bits(maps):
    assert (maps(plain(919, np.uint16))[0]['map'] == 919).all()
    message = r'maps/a\.png: the map has numbers from 40000 to 40000; labels lie in 0\.\.32767'
    with pytest.raises(DataError, match=message):
        maps(plain(40000, np.uint16))[0]


@pytest.mark.parametrize('share', [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_map(maps, tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH), np.uint8)
    save(tmp_path / 'map.png', noise)
    content = (tmp_path / 'map.png').read_bytes()
    with pytest.raises(DataError, match=r'maps/a\.png: no label map that can be read') as caught:
        maps(content[: int(share * len(content))])[0]
    assert '\n' not in str(caught.value)


def test_a_map_that_is_gone(maps, tmp_path):
    dataset = maps(plain())
    (tmp_path / 'maps' / 'a.png').unlink()
    with pytest.raises(DataError, match=r'maps/a\.png: .*No such file'):
        dataset[0]


@pytest.mark.parametrize('folder', ['images', 'maps'])
def test_two_files_that_differ_only_in_their_ending(maps, tmp_path, folder):
    maps(plain())
    save(tmp_path / folder / 'a.bmp', plain())
    with pytest.raises(DataError, match=rf'{folder}: a\.(bmp|png) and a\.(bmp|png) differ only'):
        maps(plain())


def test_a_crop_larger_than_the_image(maps):
    """It is taken as it is and filled up; without a border the size is named."""
    labels = plain(1)
    crop, pad = {'type': 'ClassBalancedCrop', 'size': 40}, {'type': 'Pad', 'size': 40}
    sample = maps(labels, classes='ab', pipeline=[crop, pad])[0]
    assert sample['inputs'].shape == (3, 40, 40)
    assert sample['shape'].tolist() == [HEIGHT, WIDTH]
    assert (sample['map'] == 255).sum() == 40 * 40 - HEIGHT * WIDTH
    jitter = {'type': 'LargeScaleJitter', 'size': 64, 'scale': (0.2, 0.2)}
    small = maps(labels, pipeline=[jitter, {'type': 'Pad', 'size': 64}])[0]
    assert small['shape'].tolist() == [9, 13]
    with pytest.raises(DataError, match=r'a\.png: Pad failed: the image of 20x30 is larger'):
        maps(labels, pipeline=[{'type': 'Pad', 'size': 10}])[0]


# --- objects ------------------------------------------------------------------------------


def thing(number=1, bbox=(5, 5, 10, 10), **more):
    left, top, width, height = bbox
    right, bottom = left + width, top + height
    polygon = [left, top, right, top, right, bottom, left, bottom]
    return {
        'id': number, 'image_id': 1, 'category_id': 1, 'bbox': list(bbox), 'area': width * height,
        'iscrowd': 0, 'segmentation': [polygon], **more,
    }  # fmt: skip


@pytest.fixture
def coco(tmp_path):
    """coco(objects, images=..., categories=...) is a source of two images, 1.png and 2.png."""
    for number in (1, 2):
        save(tmp_path / 'val' / f'{number}.png', np.zeros((HEIGHT, WIDTH, 3), np.uint8))

    def make(objects=(), images=None, categories=None, **options):
        size = {'height': HEIGHT, 'width': WIDTH}
        content = {
            'images': images or [{'id': n, 'file_name': f'{n}.png', **size} for n in (1, 2)],
            'annotations': list(objects),
            'categories': categories or [{'id': 1, 'name': 'digit'}],
        }
        (tmp_path / 'objects.json').write_text(json.dumps(content))
        return CocoInstances(str(tmp_path / 'val'), 'objects.json', **options)

    return make


def sample_of(source):
    return SeededDataset(source, [DECODE, LOAD, PACK])[0]


def test_boxes_are_cut_at_the_border_and_empty_ones_left_out(coco):
    boxes = [(-5, -5, 10, 10), (25, 15, 50, 50), (40, 5, 10, 10), (5, 5, 0, 10), (5, 5, -3, 4)]
    source = coco([thing(n, box) for n, box in enumerate(boxes)])
    found = source.get_data_info(0)['annotations']['boxes']
    assert found.tolist() == [[0, 0, 5, 5], [25, 15, 30, 20]]


def test_an_object_of_one_pixel_stays(coco):
    judge('pycocotools.mask')
    source = coco([thing(1, (5, 5, 1, 1)), thing(2, (5, 5, 0.4, 0.4))])
    sample = sample_of(source)
    assert sample['boxes'].tolist() == [[5, 5, 6, 6]]
    assert unpack_bits(sample['masks'], WIDTH).sum() == 1


def test_no_annotation_at_all(coco):
    source = coco()
    assert len(source) == 2
    assert source.get_data_info(0)['annotations']['boxes'].shape == (0, 4)
    with pytest.raises(DataError, match=r'objects\.json: no image with an object'):
        coco(filter_empty=True)


@pytest.mark.parametrize('text', ['', 'no json', '[1, 2', '\xff'])
def test_annotations_that_are_no_json(coco, tmp_path, text):
    coco()
    (tmp_path / 'objects.json').write_text(text, encoding='latin-1')
    with pytest.raises(DataError, match=r'objects\.json: no JSON: ') as caught:
        CocoInstances(str(tmp_path / 'val'), 'objects.json')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'text', ['[]', '{}', '{"images": {}, "annotations": [], "categories": []}']
)
def test_another_json_file(coco, tmp_path, text):
    coco()
    (tmp_path / 'objects.json').write_text(text)
    with pytest.raises(DataError, match=r'objects\.json: no annotation file of COCO'):
        CocoInstances(str(tmp_path / 'val'), 'objects.json')


def test_files_that_are_not_there(coco, tmp_path):
    source = coco()
    gone = rf'^{tmp_path}/nowhere\.json: cannot be read: No such file'
    with pytest.raises(DataError, match=gone):
        CocoInstances(str(tmp_path / 'val'), 'nowhere.json')
    with pytest.raises(DataError, match='gone: no such folder'):
        CocoInstances(str(tmp_path / 'gone'), 'objects.json')
    size = {'height': HEIGHT, 'width': WIDTH}
    names = ['1.png', *(f'{n}.png' for n in range(100, 112)), 'deeper/2.png']
    images = [{'id': n, 'file_name': name, **size} for n, name in enumerate(names)]
    with pytest.raises(DataError) as caught:
        coco(images=images)
    told = str(caught.value)
    assert told.startswith('13 of the 14 files of ')
    assert told.endswith('100.png, 101.png, 102.png, 103.png, 104.png, 105.png, 106.png, 107.png, '
                         '108.png, 109.png, ...')  # fmt: skip
    (tmp_path / 'val' / '1.png').unlink()
    with pytest.raises(DataError, match=r'1\.png'):  # gone since
        sample_of(source)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'bbox': [1, 2, 3]}, r'annotation 1 has bbox \[1, 2, 3\]; it must be four numbers'),
        ({'bbox': None}, 'annotation 1 has bbox None'),
        ({'bbox': ['a', 1, 2, 3]}, 'annotation 1 has bbox'),
        ({'bbox': [float('nan'), 1, 2, 3]}, r'annotation 1 has bbox \[nan'),
        ({'image_id': None}, 'annotation 1 has image_id None'),
        ({'category_id': 7}, 'annotation 1 has category_id 7'),
        ({'image_id': [1]}, r'annotation 1 has image_id \[1\]'),
        ({'area': 'x'}, "annotation 1 has area 'x'"),
        ({'area': None}, 'annotation 1 has area None'),
        ({'iscrowd': 'no'}, "annotation 1 has .* iscrowd 'no'"),
    ],
)
def test_an_annotation_that_is_wrong_is_named(coco, change, named):
    with pytest.raises(DataError, match=rf'objects\.json: {named}'):
        coco([thing(**change)] if 'bbox' not in change else [{**thing(), **change}])


@pytest.mark.parametrize(
    ('details', 'named'),
    [
        ({'images': [{'id': 1, 'height': 2, 'width': 3}]}, 'image 1 has no file_name'),
        ({'images': [{'file_name': '1.png', 'height': 2, 'width': 3}]}, 'image 0 has no id'),
        ({'images': [{'id': 1, 'file_name': '1.png', 'width': '3', 'height': 2}]}, 'no width'),
        ({'images': ['1.png']}, 'image 0 has no file_name'),
        ({'categories': [{'name': 'a'}]}, 'category 0 has no id'),
        ({'categories': [{'id': 1}, {'id': 1}]}, 'two of category have the id 1'),
        ({'categories': [{'id': 1}, {'id': 'a'}]}, 'ids of the categories are of several types'),
    ],
)
def test_an_image_or_a_category_that_is_wrong_is_named(coco, details, named):
    with pytest.raises(DataError, match=rf'objects\.json: .*{named}'):
        coco(**details)


def test_annotations_of_an_image_of_another_size(coco):
    images = [{'id': 1, 'file_name': '1.png', 'height': WIDTH, 'width': HEIGHT}]
    with pytest.raises(DataError, match=r'1\.png: the image has 20x30 pixels, .* are of 30x20'):
        sample_of(coco([thing()], images=images))


def test_polygons_without_an_inside_are_left_out(coco):
    """Of less than three points; an object that has no other is dropped."""
    judge('pycocotools.mask')
    point, line = [5, 5], [5, 5, 15, 15]
    square = thing()['segmentation'][0]
    objects = [
        thing(1, segmentation=[line, point, square]),
        thing(2, segmentation=[line]),
        thing(3, segmentation=[]),
        thing(4, segmentation=None),
    ]
    sample = sample_of(coco(objects))
    assert len(sample['boxes']) == 1
    assert unpack_bits(sample['masks'], WIDTH).sum() == 100


def test_crowds_keep_their_flag_and_encoded_mask(coco):
    judge('pycocotools.mask')
    counts = [0, HEIGHT * 10, HEIGHT * (WIDTH - 10)]
    encoded = {'size': [HEIGHT, WIDTH], 'counts': counts}
    crowd = thing(2, (0, 0, 10, HEIGHT), iscrowd=1, segmentation=encoded)
    sample = sample_of(coco([thing(), crowd]))
    assert sample['crowd'].tolist() == [False, True]
    assert unpack_bits(sample['masks'], WIDTH)[1, :, :10].all()
    assert len(coco([crowd], filter_empty=False)) == 2
    with pytest.raises(DataError, match='no image with an object'):
        coco([crowd], filter_empty=True)  # in a crowd nothing is to be found


@pytest.mark.parametrize(
    ('segmentation', 'named'),
    [
        ([[1, 1, 9, 1, 9, 9, 4]], 'a polygon has 7 numbers'),
        ({'size': [5, 5], 'counts': [0, 25]}, r'mask of size \[5, 5\], its image has \[20, 30\]'),
        ({'size': [HEIGHT, WIDTH], 'counts': [0, 9999]}, 'add up to 9999 pixels, not to 600'),
        ({'size': [HEIGHT, WIDTH], 'counts': [-1, 601]}, 'add up to None pixels'),
        ({'size': [HEIGHT, WIDTH], 'counts': ''}, 'are cut off'),
        ({'size': [HEIGHT, WIDTH], 'counts': '52'}, 'add up to 7 pixels'),
        ({'counts': '52'}, 'size None'),
        ({'size': 5, 'counts': '52'}, 'size 5'),
        ([[1, 1, 9, float('nan'), 9, 9]], r'no number: \[1, 1, 9, nan'),
        ([['1', 1, 9, 1, 9, 9]], "no number: .'1', 1"),
        ([1, 1, 9, 1, 9, 9], r'a segmentation is \[1, 1, .*: neither a list of polygons'),
        ('52', "a segmentation is '52'"),
        (5, 'a segmentation is 5'),
    ],
)
def test_a_mask_that_is_wrong_is_named(coco, segmentation, named):
    judge('pycocotools.mask')
    with pytest.raises(DataError, match=rf'1\.png: PackDense failed: .*{named}'):
        sample_of(coco([thing(segmentation=segmentation)]))


def test_compressed_masks_are_counted_as_pycocotools_writes_them():
    (masks,) = judge('pycocotools.mask')
    rng = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.5, 1.0):
        mask = np.asfortranarray(rng.random((37, 53)) < share).astype(np.uint8)
        counts = masks.encode(np.asfortranarray(mask))['counts']
        assert run_lengths(counts).sum() == 37 * 53
    wide = np.zeros((700, 900), np.uint8, order='F')
    wide[3:600, 5:800] = 1
    counts = masks.encode(wide)['counts']
    assert run_lengths(counts).sum() == 700 * 900
    with pytest.raises(ValueError, match='cut off'):
        run_lengths(counts[:-1])


def test_masks_without_pycocotools_are_a_line(coco, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    source = coco([thing()])
    dataset = SeededDataset(source, [DECODE, LOAD, PACK])
    for dataset.replaces_bad in (False, True):  # no other sample would do
        with pytest.raises(ConfigError, match=r'^PackDense: masks .*pip install pycocotools'):
            dataset[0]
    boxes_alone = [DECODE, {'type': 'LoadInstances', 'with_masks': False}, PACK]
    assert torch.equal(
        SeededDataset(coco([thing()]), boxes_alone)[0]['boxes'], torch.tensor([[5.0, 5, 15, 15]])
    )
