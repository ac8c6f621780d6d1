"""torchvision's sets, written to disk in their own formats, as sources."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from mae.config import load_config
from mae.datasets import SeededDataset, Subset
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from tests.datasets.sources.test_idx import idx

COUNT = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), np.uint8)
LABELS = [2, 0, 1, 1, 0, 2]
SOURCE = 'train_dataloader.dataset.source'


def build(kind, root, **options):
    return DATASETS.build({'type': f'torchvision.{kind}', 'root': str(root), **options})


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def save(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS[number]).save(path)
    return path


def cifar10(root, monkeypatch):
    folder = root / 'cifar-10-batches-py'
    folder.mkdir()
    rows = PIXELS.transpose(0, 3, 1, 2).reshape(COUNT, -1)
    batch, meta = {'data': rows, 'labels': LABELS}, {'label_names': ['cat', 'dog', 'ship']}
    for name, content in (('data_batch_1', batch), ('test_batch', batch), ('batches.meta', meta)):
        (folder / name).write_bytes(pickle.dumps(content))
    kind = datasets.CIFAR10
    monkeypatch.setattr(kind, 'train_list', [['data_batch_1', md5(folder / 'data_batch_1')]])
    monkeypatch.setattr(kind, 'test_list', [['test_batch', md5(folder / 'test_batch')]])
    meta = {**kind.meta, 'md5': md5(folder / 'batches.meta')}
    monkeypatch.setattr(kind, 'meta', meta)
    return ('cat', 'dog', 'ship'), PIXELS


def fashion_mnist(root, monkeypatch):
    folder = root / 'FashionMNIST' / 'raw'
    folder.mkdir(parents=True)
    grey = PIXELS[..., 0]
    for prefix in ('train', 't10k'):
        (folder / f'{prefix}-images-idx3-ubyte').write_bytes(idx(grey))
        (folder / f'{prefix}-labels-idx1-ubyte').write_bytes(idx(np.array(LABELS, np.uint8)))
    return tuple(datasets.FashionMNIST.classes), grey


def svhn(root, monkeypatch):
    file = root / 'train_32x32.mat'
    savemat(file, {'X': PIXELS.transpose(1, 2, 3, 0), 'y': np.array(LABELS)[:, None]})
    lists = {**datasets.SVHN.split_list, 'train': ['', file.name, md5(file)]}
    monkeypatch.setattr(datasets.SVHN, 'split_list', lists)
    return ('0', '1', '2'), PIXELS


def dtd(root, monkeypatch):
    classes = ('banded', 'dotted', 'woven')
    lines = []
    for number, label in enumerate(LABELS):
        name = f'{classes[label]}/{classes[label]}_{number}.jpg'
        save(root / 'dtd' / 'dtd' / 'images' / name, number)
        lines.append(f'{name}\n')
    (root / 'dtd' / 'dtd' / 'labels').mkdir()
    (root / 'dtd' / 'dtd' / 'labels' / 'train1.txt').write_text(''.join(lines))
    return classes, [f'dtd/dtd/images/{line.strip()}' for line in lines]


def flowers102(root, monkeypatch):
    folder = root / 'flowers-102'
    names = [f'jpg/image_{number + 1:05d}.jpg' for number in range(COUNT)]
    for number, name in enumerate(names):
        save(folder / name, number)
    savemat(folder / 'imagelabels.mat', {'labels': np.array(LABELS) + 1})
    savemat(folder / 'setid.mat', {'trnid': np.arange(COUNT) + 1})
    files = {key: (f'{name}.mat', md5(folder / f'{name}.mat')) for key, name in FLOWERS.items()}
    monkeypatch.setattr(datasets.Flowers102, '_file_dict', files)
    return tuple(datasets.Flowers102.classes), [f'flowers-102/{name}' for name in names]


FLOWERS = {'label': 'imagelabels', 'setid': 'setid'}


def oxford_iiit_pet(root, monkeypatch):
    folder = root / 'oxford-iiit-pet'
    names = [f'{("bengal", "beagle", "sphynx")[label]}_{n}' for n, label in enumerate(LABELS)]
    for number, name in enumerate(names):
        save(folder / 'images' / f'{name}.jpg', number)
    lines = [
        f'{name} {label + 1} {1 + (label == 1)} 1\n'
        for name, label in zip(names, LABELS, strict=True)
    ]
    (folder / 'annotations').mkdir()
    (folder / 'annotations' / 'trainval.txt').write_text(''.join(lines))
    return ('Bengal', 'Beagle', 'Sphynx'), [f'oxford-iiit-pet/images/{name}.jpg' for name in names]


def caltech101(root, monkeypatch):
    folder = root / 'caltech101'
    (folder / 'Annotations').mkdir(parents=True)
    classes = ('anchor', 'bass', 'wrench')
    ordered = sorted(LABELS)
    names = [
        f'{classes[c]}/image_{ordered[:n].count(c) + 1:04d}.jpg' for n, c in enumerate(ordered)
    ]
    for number, name in enumerate([*names, 'BACKGROUND_Google/image_0001.jpg']):
        save(folder / '101_ObjectCategories' / name, number % COUNT)
    return classes, [f'caltech101/101_ObjectCategories/{name}' for name in names]


def euro_sat(root, monkeypatch):
    classes = ('Forest', 'Highway', 'River')
    names = [f'eurosat/2750/{classes[c]}/{n}.jpg' for n, c in enumerate(sorted(LABELS))]
    for number, name in enumerate(names):
        save(root / name, number)
    return classes, names


SETS = {
    'CIFAR10': cifar10,
    'FashionMNIST': fashion_mnist,
    'SVHN': svhn,
    'DTD': dtd,
    'Flowers102': flowers102,
    'OxfordIIITPet': oxford_iiit_pet,
    'Caltech101': caltech101,
    'EuroSAT': euro_sat,
}


@pytest.mark.parametrize('kind', SETS)
def test_images_and_labels(kind, tmp_path, monkeypatch):
    classes, images = SETS[kind](tmp_path, monkeypatch)
    labels = LABELS if kind not in ('Caltech101', 'EuroSAT') else sorted(LABELS)
    source = build(kind, tmp_path)
    assert len(source) == COUNT
    assert source.metainfo == {'classes': classes}
    assert source.get_gt_labels().tolist() == labels
    for index in range(COUNT):
        info = source.get_data_info(index)
        assert info['gt_label'] == labels[index]
        if isinstance(images, list):
            assert info == {'img_path': f'{tmp_path}/{images[index]}', 'gt_label': labels[index]}
        else:
            assert np.array_equal(info['img'], images[index])
    assert len(Subset(source, per_class=1)) == 3
    theirs = getattr(datasets, kind)(tmp_path)
    ours = SeededDataset(source, [{'type': 'DecodeImage'}, {'type': 'PackInputs'}])
    for index in (0, COUNT - 1):
        image, label = theirs[index]
        decoded = torch.from_numpy(np.array(image.convert('RGB'))).permute(2, 0, 1)
        sample = ours[index]
        assert torch.equal(sample['inputs'], decoded)
        assert sample['label'] == label


def test_where_an_option_makes_the_labels_others_the_set_is_asked(tmp_path, monkeypatch):
    SETS['OxfordIIITPet'](tmp_path, monkeypatch)
    source = build('OxfordIIITPet', tmp_path, target_types='binary-category')
    assert source.get_gt_labels().tolist() == [0, 0, 1, 1, 0, 0]
    info = source.get_data_info(2)
    assert isinstance(info['img'], Image.Image)
    assert info['gt_label'] == 1


def test_no_image_is_read_but_the_first_and_the_last(tmp_path, monkeypatch):
    _, names = SETS['DTD'](tmp_path, monkeypatch)
    for name in names[1:-1]:
        (tmp_path / name).write_bytes(b'no image')
    (tmp_path / names[-1]).write_bytes(b'damaged')
    source = build('DTD', tmp_path)
    assert source.get_gt_labels().tolist() == LABELS
    assert source.get_data_info(3)['img_path'] == str(tmp_path / names[3])
    (tmp_path / names[0]).unlink()
    with pytest.raises(DataError, match='no such file, but it is the first image of the set'):
        build('DTD', tmp_path)


def test_workers_share_the_paths(tmp_path, monkeypatch):
    SETS['DTD'](tmp_path, monkeypatch)
    source = build('DTD', tmp_path)
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert again.get_data_info(4) == source.get_data_info(4)
    assert not [value for value in vars(source).values() if isinstance(value, list)]


def test_inaturalist_before_2021_says_that_its_splits_are_one(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mae.datasets.sources.torchvision_sets.print_log', lambda line, *_: said.append(line)
    )
    for number, name in enumerate(('Aves/0', 'Aves/2', 'Fungi/1')):
        save(tmp_path / '2018' / name / 'a.jpg', number)
    source = build('INaturalist', tmp_path, version='2018')
    paths = [source.get_data_info(index)['img_path'] for index in range(3)]
    assert paths == [f'{tmp_path}/2018/{name}/a.jpg' for name in ('Aves/0', 'Fungi/1', 'Aves/2')]
    assert source.get_gt_labels().tolist() == [0, 1, 2]
    assert 'version 2018 holds train and val together; JsonImages' in said[0]


@pytest.mark.parametrize(
    ('kind', 'options', 'error', 'message'),
    [
        (
            'Flowers102',
            {},
            DataError,
            'not there or not whole .*vgg/data/flowers/102/; download=Tr',
        ),
        ('CIFAR10', {}, DataError, 'toronto.edu/~kriz/cifar.html; download=True fetches it'),
        ('StanfordCars', {}, DataError, 'pytorch/vision/issues/7545$'),
        (
            'ImageNet',
            {},
            DataError,
            'not there or not whole .*; it comes from https://image-net.org',
        ),
        ('SEMEION', {}, DataError, 'not there or not whole'),  # its own default is to download
        (
            'STL10',
            {'split': 'tst'},
            ConfigError,
            'torchvision.STL10: .*/x: Unknown value .tst. for arg',
        ),
        ('EMNIST', {}, ConfigError, "torchvision.EMNIST: missing a required argument: 'split'"),
        ('DTD', {'spilt': 'val'}, ConfigError, "unexpected keyword argument 'spilt'"),
    ],
)
def test_missing_or_wrong(tmp_path, kind, options, error, message):
    with pytest.raises(error, match=message) as caught:
        build(kind, tmp_path / 'x', **options)
    assert '\n' not in str(caught.value)


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError('no route to host')

    monkeypatch.setattr('torchvision.datasets.dtd.download_and_extract_archive', offline)
    with pytest.raises(DataError, match=r'DTD: .*: cannot be fetched: no route to host'):
        build('DTD', tmp_path / 'x', download=True)


def test_a_config_may_name_one():
    node = {'_delete_': True, 'type': 'torchvision.DTD', 'root': 'x', 'split': 'val'}
    leaf = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
    assert load_config(leaf, {SOURCE: {**node, 'partition': 2}})
    for wrong, message in (
        ({'spilt': 'val'}, f'unknown key {SOURCE}.spilt of DTD; did you mean {SOURCE}.split?'),
        ({'partition': 'a'}, f"{SOURCE}.partition must be int, not 'a'"),
        ({'transform': None}, f'unknown key {SOURCE}.transform of DTD'),
        ({'type': 'torchvision.Flower102'}, 'did you mean torchvision.Flowers102?'),
        ({'type': 'EuroSAT'}, 'did you mean torchvision.EuroSAT?'),
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(leaf, {SOURCE: {**node, **wrong}})
        assert message in str(caught.value)
