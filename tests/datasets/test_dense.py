"""Dense samples from the source to the batch, on small files in the real layouts."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import mae.datasets.transforms  # noqa: F401  registers
from mae.datasets.collate_dense import collate_dense
from mae.datasets.sampler import GlobalBatchSampler
from mae.datasets.seeded import SeededDataset
from mae.datasets.sources.coco import CocoInstances
from mae.datasets.sources.digit_scenes import DigitScenes
from mae.datasets.sources.label_maps import LabelMapFolder
from mae.datasets.transforms.dense_resize import Pad, ResizeInside, ResizeToFit
from mae.datasets.transforms.load_map import LoadMap
from mae.datasets.transforms.pack_dense import pack_bits
from mae.models.preprocessors.dense import DensePreprocessor, unpack_bits
from mae.utils.errors import ConfigError, DataError
from tests.judges import judge

JITTER = [
    {'type': 'LargeScaleJitter', 'size': 32, 'scale': (0.5, 1.5)},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'Pad', 'size': 32},
    {'type': 'PackDense'},
]


class Both:
    """Scenes with map and objects."""

    def __init__(self, number):
        self.sources = [
            DigitScenes('train', number, task, img_size=40) for task in ('maps', 'instances')
        ]

    def __len__(self):
        return len(self.sources[0])

    def get_data_info(self, index):
        maps, instances = (source.get_data_info(index) for source in self.sources)
        return {**maps, **instances}


def scenes(number=12):
    return SeededDataset(Both(number), JITTER)


def equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_a_scene_is_a_function_of_seed_split_and_number():
    one, same = DigitScenes(num_scenes=5), DigitScenes(num_scenes=50)
    for index in (0, 4):
        a, b = one.get_data_info(index), same.get_data_info(index)
        assert torch.equal(a['img'], b['img'])
        assert torch.equal(a['map'], b['map'])
    assert not torch.equal(
        one.get_data_info(0)['img'], DigitScenes(num_scenes=5, seed=1).get_data_info(0)['img']
    )
    with pytest.raises(IndexError):
        one.get_data_info(5)


def test_kept_scenes_are_those_that_are_made_anew():
    kept, made = (
        SeededDataset(DigitScenes('train', 4, 'instances', is_cached=cached), JITTER)
        for cached in (True, False)
    )
    for index, key in ((0, 3), (1, 3), (0, 4), (0, 3)):
        equal(collate_dense([kept[index, key]]), collate_dense([made[index, key]]))
    assert torch.equal(kept.source.get_data_info(-1)['img'], made.source.get_data_info(3)['img'])


def test_squares_begin_at_multiples_of_the_step():
    free = torch.zeros(24, 24, dtype=torch.bool)
    for step in (1, 4):
        source = DigitScenes(img_size=24, sizes=(12, 12), step=step)
        draws = map(np.random.default_rng, range(200))
        sides = {side for draw in draws for side in source._free_place(free, 12, draw)}
        assert sides == set(range(0, 13, step))
    with pytest.raises(ConfigError, match=r'step must lie in 1\.\.img_size=24, got 0'):
        DigitScenes(img_size=24, sizes=(12, 12), step=0)


def test_map_and_masks_of_a_scene_agree():
    both = [DigitScenes(num_scenes=20, task=task, img_size=48) for task in ('maps', 'instances')]
    assert [len(source.metainfo['classes']) for source in both] == [11, 10]
    for index in range(20):
        info, things = both[0].get_data_info(index), both[1].get_data_info(index)['instances']
        assert 1 <= len(things['classes']) <= 4
        assert (things['masks'].sum(0) <= 1).all()  # none overlaps another
        rebuilt = torch.zeros(48, 48, dtype=torch.int16)
        for mask, label in zip(things['masks'], things['classes'], strict=True):
            rebuilt[mask] = label + 1
        assert torch.equal(rebuilt, info['map'])
        assert (info['img'][0][info['map'] > 0] > 0.3 * 255).all()


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_batches_do_not_depend_on_the_workers(workers):
    dataset = scenes()

    def batches(number):
        sampler = GlobalBatchSampler(dataset, batch_size=4, shuffle=True, seed=3)
        return list(
            DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_dense, num_workers=number)
        )

    for one, other in zip(batches(workers), batches(0), strict=True):
        equal(one, other)


def test_a_batch_comes_apart_again():
    dataset = scenes()
    samples = [dataset[n] for n in range(6)]
    batch = DensePreprocessor([78.0], [96.0])(collate_dense(samples))
    assert batch['inputs'].shape == (6, 1, 32, 32)
    together = zip(samples, batch['inputs'], batch['maps'], batch['objects'], strict=True)
    for sample, image, labels, objects in together:
        height, width = sample['shape'].tolist()
        expected = (sample['inputs'].float() - 78) / 96
        assert torch.allclose(image[:, :height, :width], expected[:, :height, :width])
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()
        assert torch.equal(sample['map'].long(), labels)
        for name in ('boxes', 'classes', 'crowd', 'areas'):
            assert torch.equal(sample[name], objects[name])
        rebuilt = torch.zeros(32, 32, dtype=torch.int64)
        for mask, label in zip(objects['masks'], objects['classes'], strict=True):
            rebuilt[mask] = label + 1
        assert torch.equal(rebuilt[:height, :width], labels[:height, :width])
        assert (labels[height:] == 255).all()


@pytest.mark.parametrize('width', [1, 7, 8, 9, 31])
def test_bits_are_unpacked_as_they_were(width):
    masks = torch.rand(3, 5, width, generator=torch.Generator().manual_seed(width)) > 0.5
    assert torch.equal(unpack_bits(pack_bits(masks), width), masks)


@pytest.fixture
def ade(tmp_path):
    """Two pairs and an image without a map, in ADE20K's layout."""
    for split in ('images', 'annotations'):
        (tmp_path / split / 'training').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ('ADE_1', 'ADE_2', 'ADE_3'):
        pixels = rng.integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / 'training' / f'{name}.jpg')
    labels = rng.integers(0, 4, (20, 30), np.uint8)
    for name in ('ADE_1', 'ADE_3'):
        Image.fromarray(labels).save(tmp_path / 'annotations' / 'training' / f'{name}.png')
    return tmp_path, labels


def load(root, **options):
    source = LabelMapFolder(str(root), 'images/training', 'annotations/training')
    pipeline = [{'type': 'DecodeImage'}, {'type': 'LoadMap', **options}, {'type': 'PackDense'}]
    return SeededDataset(source, pipeline)


def test_pairs_and_the_ignored_zero_of_ade20k(ade):
    root, labels = ade
    dataset = load(root, zero_is='ignore')
    assert len(dataset) == 2
    expected = np.where(labels == 0, 255, labels.astype(np.int16) - 1)
    assert torch.equal(dataset[0]['map'], torch.from_numpy(expected).short())
    assert dataset.name(1).endswith('ADE_3.jpg')


def test_every_draw_follows_from_the_key(ade):
    """Read in another order, after others and alone: the same images and maps."""
    source = LabelMapFolder(str(ade[0]), 'images/training', 'annotations/training')
    names = ('RandomFlip', 'PhotometricDistortion', 'RandomGray', 'RandomBlur')
    resize = {'type': 'ResizeInside', 'short_side': 20, 'ratio_range': (0.5, 2.0)}
    pipeline = [
        *({'type': t} for t in ('DecodeImage', 'LoadMap')),
        resize,
        {'type': 'ClassBalancedCrop', 'size': 16},
        {'type': 'LargeScaleJitter', 'size': 16},
        *({'type': t} for t in names),
        {'type': 'Pad', 'size': 16},
        {'type': 'PackDense'},
    ]
    requests = [(sample_id, key) for sample_id in range(2) for key in (5, 6, 7)]
    first = dict(zip(requests, SeededDataset(source, pipeline).__getitems__(requests), strict=True))
    torch.manual_seed(9)
    dataset = SeededDataset(source, pipeline)
    for request in requests[::-1]:
        again = dataset[request]
        assert torch.equal(again['inputs'], first[request]['inputs'])
        assert torch.equal(again['map'], first[request]['map'])
    pictures = {sample['inputs'].numpy().tobytes() for sample in first.values()}
    assert len(pictures) == len(requests)


def test_behind_a_resize_the_map_keeps_its_size(ade):
    source = LabelMapFolder(str(ade[0]), 'images/training', 'annotations/training')
    resize = {'type': 'ResizeInside', 'short_side': 40, 'long_side': 100}
    sample = SeededDataset(
        source, [{'type': 'DecodeImage'}, resize, {'type': 'LoadMap'}, {'type': 'PackDense'}]
    )[0]
    assert sample['inputs'].shape == (3, 40, 60)
    assert sample['map'].shape == (20, 30)
    assert sample['original'].tolist() == [20, 30]


@pytest.mark.parametrize(
    ('shape', 'size', 'expected'),
    [
        ((60, 40), (32, 64), (32, 21)),  # upright in a wide frame
        ((40, 60), (32, 64), (32, 48)),
        ((40, 120), (32, 64), (21, 64)),
        ((3, 200), (16, 16), (1, 16)),
    ],
)
def test_every_aspect_fits_every_frame(shape, size, expected):
    resize, pad = ResizeToFit(size), Pad(size)
    found = pad.transform(resize.transform({'img': torch.zeros(3, *shape, dtype=torch.uint8)}))
    assert found['shape'] == expected
    assert found['img'].shape[1:] == size


@pytest.mark.parametrize('shape', [(40, 61), (61, 40), (33, 33)])
def test_in_a_square_the_long_side_decides(shape):
    img = torch.randint(256, (3, *shape), dtype=torch.uint8)
    fitted = ResizeToFit(48).transform({'img': img})['img']
    assert torch.equal(fitted, ResizeInside(48).transform({'img': img})['img'])


def test_two_bytes_of_imagenet_s(tmp_path):
    ids = np.array([[0, 1, 255], [256, 919, 1000]], np.int32)
    colours = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1).astype(np.uint8)
    path = tmp_path / 'map.png'
    Image.fromarray(colours).save(path)
    results = {'img': torch.zeros(3, 2, 3, dtype=torch.uint8), 'map_path': str(path)}
    loaded = LoadMap('rg', ignore_index=1000).transform(results)
    assert loaded['map'].tolist() == ids.tolist()
    with pytest.raises(DataError, match=r'map\.png.*colours'):
        LoadMap('index').transform(results)


def test_what_is_wrong_with_a_map_is_named(ade, tmp_path):
    root = ade[0]
    path = root / 'annotations' / 'training' / 'ADE_1.png'
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(path)
    with pytest.raises(DataError, match=r'ADE_1\.png.*30x20.*20x30'):
        load(root)[0]
    path.write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'ADE_1\.png'):
        load(root)[0]
    (root / 'images' / 'training' / 'ADE_3.jpg').unlink()
    with pytest.raises(DataError, match=r'1 label maps.*ADE_3\.png'):
        load(root)
    with pytest.raises(DataError, match='nowhere'):
        LabelMapFolder(str(tmp_path), 'nowhere', 'annotations/training')
    with pytest.raises(ConfigError, match='encoding'):
        LoadMap('colour')


@pytest.fixture
def coco(tmp_path):
    """Two images: one with a polygon, a hole-free square, a crowd; one without an object."""
    (tmp_path / 'val2017').mkdir()
    for name in ('a.png', 'b.png'):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / 'val2017' / name)
    square = [10, 5, 30, 5, 30, 25, 10, 25]
    counts = [40 * 45, 40 * 10, 40 * 5]  # columns 45 to 54
    objects = [
        {'id': 1, 'image_id': 7, 'category_id': 90, 'bbox': [10, 5, 20, 20], 'area': 400.0,
         'iscrowd': 0, 'segmentation': [square]},
        {'id': 2, 'image_id': 7, 'category_id': 2, 'bbox': [45, 0, 10, 40], 'area': 400.0,
         'iscrowd': 1, 'segmentation': {'size': [40, 60], 'counts': counts}},
        {'id': 3, 'image_id': 7, 'category_id': 2, 'bbox': [70, 0, 10, 40], 'area': 1.0,
         'iscrowd': 0, 'segmentation': [[70, 0, 80, 0, 80, 40]]},
    ]  # fmt: skip
    content = {
        'images': [
            {'id': 7, 'file_name': 'a.png', 'height': 40, 'width': 60},
            {'id': 3, 'file_name': 'b.png', 'height': 40, 'width': 60},
        ],
        'annotations': objects,
        'categories': [{'id': 90, 'name': 'brush'}, {'id': 2, 'name': 'bike'}],
    }
    file = tmp_path / 'instances.json'
    file.write_text(json.dumps(content))
    return tmp_path, content, file


def test_objects_of_coco(coco):
    root, _, file = coco
    source = CocoInstances(str(root / 'val2017'), str(file))
    assert source.metainfo['classes'] == ('bike', 'brush')
    assert len(source) == 2
    found = source.get_data_info(0)['annotations']
    assert found['boxes'].tolist() == [[10, 5, 30, 25], [45, 0, 55, 40]]  # the third lies outside
    assert found['classes'].tolist() == [1, 0]
    assert found['crowd'].tolist() == [False, True]
    assert len(source.get_data_info(1)['annotations']['boxes']) == 0
    assert len(CocoInstances(str(root / 'val2017'), str(file), filter_empty=True)) == 1


def test_polygons_are_filled_where_the_image_lies(coco):
    judge('pycocotools.mask')
    root, _, file = coco
    source = CocoInstances(str(root / 'val2017'), str(file))
    decode, load_them, pack = ({'type': t} for t in ('DecodeImage', 'LoadInstances', 'PackDense'))
    plain = SeededDataset(source, [decode, load_them, pack])[0]
    masks = unpack_bits(plain['masks'], 60)
    assert masks[0, 5:25, 10:30].all()
    assert masks[0].sum() == 400
    assert masks[1, :, 45:55].all()
    assert masks[1].sum() == 400
    flipped = SeededDataset(source, [decode, load_them, {'type': 'RandomFlip', 'prob': 1.0}, pack])
    mirrored = flipped[0]
    assert torch.equal(unpack_bits(mirrored['masks'], 60), masks.flip(-1))
    assert mirrored['boxes'].tolist() == [[30, 5, 50, 25], [5, 0, 15, 40]]
    empty = SeededDataset(source, [decode, load_them, pack])[1]
    assert empty['boxes'].shape == (0, 4)
    assert collate_dense([plain, empty])['counts'].tolist() == [2, 0]


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (lambda c: c['annotations'][0].update(image_id=99), 'annotation 1.*image_id 99'),
        (lambda c: c['annotations'][0].update(category_id=5), 'annotation 1.*category_id 5'),
        (lambda c: c.pop('categories'), 'categories'),
    ],
)
def test_a_strange_annotation_file_is_named(coco, change, named):
    root, content, file = coco
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf'instances\.json.*{named}'):
        CocoInstances(str(root / 'val2017'), str(file))
