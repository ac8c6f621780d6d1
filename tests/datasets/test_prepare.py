"""Sets in their real layout, small: what is found, what is missing, which lists are written."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from mae.datasets import ImageFolder, OmniBenchmark
from mae.datasets.catalogue import (
    CATALOGUE,
    CORRUPTION_ARCHIVES,
    REALM_CLASSES,
    Annotations,
    ClassFolders,
    CocoObjects,
    PublishedSet,
)
from mae.datasets.prepare import Finding, examine, source_of
from mae.datasets.transforms import corruptions
from mae.utils.errors import DataError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'image')


def small(name, **changes):
    """The entry of the catalogue with other numbers in every part."""
    entry = CATALOGUE[name]
    parts = tuple(replace(part, **changes) for part in entry.parts)
    return replace(
        entry, parts=parts, variants=tuple(replace(p, **changes) for p in entry.variants)
    )


def wrongs(published, root, **options):
    return [finding.text for finding in examine(published, root, **options) if not finding.is_right]


def test_the_catalogue_agrees_with_the_rest():
    kinds = [kind for kinds in CORRUPTION_ARCHIVES.values() for kind in kinds]
    assert [kind for kind in kinds if kind != 'frost'] == list(corruptions.CORRUPTIONS)
    assert len(CATALOGUE['imagenet-c'].parts) == 75
    assert len(REALM_CLASSES) == 21
    assert sum(REALM_CLASSES.values()) == 6_621
    for entry in CATALOGUE.values():
        assert entry.parts or entry.variants
        assert '{root}' in entry.source or '{folder}' in entry.source
        assert entry.home.startswith('http')
        assert all(md5 is None or len(md5) == 32 for md5 in entry.archives.values())


WNIDS = ['n00000001', 'n00000002']


@pytest.mark.parametrize('below', ['', 'imagenet-a'])
def test_class_folders(tmp_path, below):
    published = small('imagenet-a', classes=2, images=(3,))
    for number in range(3):
        touch(tmp_path / below / WNIDS[number % 2] / f'{number}.jpg')
    touch(tmp_path / below / 'README.txt')
    touch(tmp_path / below / WNIDS[0] / '._0.jpg')
    assert list(examine(published, tmp_path)) == [
        Finding(True, f'{tmp_path / below}: 2 classes, 3 images')
    ]
    assert f"root='{tmp_path / below}'" in source_of(published, tmp_path)
    touch(tmp_path / below / WNIDS[0] / '4.jpg')
    (tmp_path / below / WNIDS[1] / '1.jpg').unlink()
    assert wrongs(small('imagenet-a', classes=2, images=(4,)), tmp_path) == [
        f'{tmp_path / below}: 2 classes, 3 images; expected 4; 1 folder is empty, the first '
        'n00000002'
    ]
    (tmp_path / below / WNIDS[1]).rename(tmp_path / below / 'second')
    assert 'is no name of a class, as n01440764 is' in wrongs(published, tmp_path)[0]
    assert '; expected 3 class' in wrongs(small('imagenet-a', classes=3), tmp_path)[0]


def test_corruptions_below_the_names_of_their_archives_or_not(tmp_path):
    published = small('imagenet-c', classes=2, images=(2,), per_class=1)
    for archive, kinds in CORRUPTION_ARCHIVES.items():
        for kind in kinds:
            folder = tmp_path / (archive if kind != 'snow' else '') / kind
            for severity in range(1, 6):
                for name in WNIDS:
                    touch(folder / str(severity) / name / 'ILSVRC2012_val_00000001.JPEG')
    assert len(list(examine(published, tmp_path))) == 75
    assert wrongs(published, tmp_path) == []
    assert source_of(published, tmp_path) == f"dict(type='ImageNetC', root='{tmp_path}')"
    touch(tmp_path / 'noise' / 'shot_noise' / '2' / WNIDS[0] / 'b.JPEG')
    (tmp_path / 'noise' / 'shot_noise' / '2' / WNIDS[1] / 'ILSVRC2012_val_00000001.JPEG').unlink()
    (tmp_path / 'weather' / 'fog').rename(tmp_path / 'weather' / 'fogg')
    touch(tmp_path / 'weather.tar')
    found = wrongs(published, tmp_path)
    assert len(found) == 7
    assert 'shot_noise/2: 2 classes, 2 images; 2 classes have not 1, the first' in found[0]
    fog = f'{tmp_path}/fog/1 or {tmp_path}/weather/fog/1: no such folder'
    assert found[1] == fog
    assert found[-1] == f'{tmp_path}: unpack weather.tar there, if not done'


def test_one_variant_of_v2_is_enough_and_its_folders_are_numbers(tmp_path):
    published = small('imagenet-v2', classes=11, images=(11,), per_class=1)
    folder = tmp_path / 'imagenetv2-top-images-format-val'
    for number in range(11):
        touch(folder / str(number) / 'a.jpeg')
    assert list(examine(published, tmp_path)) == [Finding(True, f'{folder}: 11 classes, 11 images')]
    assert source_of(published, tmp_path) == (
        f"dict(type='ImageFolder', root='{folder}', classes='imagenet-v2')"
    )
    older = tmp_path / 'older'
    for number in range(11):
        touch(older / f'n{number:08d}' / 'a.jpeg')
    assert wrongs(published, older) == []
    assert "classes='imagenet')" in source_of(published, older)
    (folder / '10').rename(folder / '11')
    assert any("'0' is no name of a class" in text for text in wrongs(published, tmp_path))


def test_numbers_of_the_validation_images(tmp_path):
    published = small('imagenet-real', images=3)
    for number in (1, 2, 3):
        touch(tmp_path / 'val' / WNIDS[number % 2] / f'ILSVRC2012_val_{number:08d}.JPEG')
    assert wrongs(published, tmp_path) == []
    assert 'file_numbers=True' in source_of(published, tmp_path)
    touch(tmp_path / 'val' / 'ILSVRC2012_val_00000003.JPEG')
    assert wrongs(published, tmp_path) == [
        f'{tmp_path}/val: 4 images with a number in their name; expected each of 1 to 3 once'
    ]


def annotations(root, names, labels, classes):
    images = [{'id': n, 'file_name': name} for n, name in enumerate(names)]
    rows = [{'id': n, 'image_id': n, 'category_id': label} for n, label in enumerate(labels)]
    categories = [{'id': n, 'name': f'species {n}'} for n in range(classes)]
    content = {'images': images, 'annotations': rows, 'categories': categories}
    return json.dumps(content)


def test_annotation_files_and_ten_missing_images(tmp_path):
    parts = (Annotations('train2018.json', 2, 12), Annotations('val2018.json', 2, 1))
    published = replace(CATALOGUE['inat2018'], parts=parts)
    names = [f'train_val2018/Aves/{n % 2}/{n:02d}.jpg' for n in range(12)]
    text = annotations(tmp_path, names, [n % 2 for n in range(12)], 2)
    (tmp_path / 'train2018.json').write_text(text)
    (tmp_path / 'val2018.json').write_text(annotations(tmp_path, names[:1], [0], 2))
    for name in names:
        touch(tmp_path / name)
    assert wrongs(published, tmp_path) == []
    for name in names[1:]:
        (tmp_path / name).unlink()
    (found,) = wrongs(published, tmp_path)
    assert found.startswith(
        f'{tmp_path}/train2018.json: 11 of 12 files are not below {tmp_path}: '
        'train_val2018/Aves/1/01.jpg, train_val2018/Aves/0/02.jpg, '
    )
    assert found.endswith(', ...')
    assert found.count('.jpg') == 10
    (tmp_path / 'val2018.json').write_text('{}')
    assert 'val2018.json: no list `images`' in wrongs(published, tmp_path)[1]
    (tmp_path / 'val2018.json').unlink()
    assert wrongs(published, tmp_path)[1] == f'{tmp_path}/val2018.json: no such file'


def test_objects_of_coco(tmp_path):
    parts = (CocoObjects('annotations/instances_val2017.json', 'val2017', 2, 13, 1),)
    published = replace(CATALOGUE['coco'], parts=parts)
    names = [f'{n:012d}.jpg' for n in range(13)]
    things = [{'image_id': 0, 'category_id': 1}, {'image_id': 1, 'category_id': 2, 'iscrowd': 1}]
    content = {
        'images': [{'id': n, 'file_name': name} for n, name in enumerate(names)],
        'annotations': things,
        'categories': [{'id': 1, 'name': 'one'}, {'id': 2, 'name': 'two'}],
    }
    file = tmp_path / parts[0].file
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    for name in names[:2]:
        touch(tmp_path / 'val2017' / name)
    (found,) = wrongs(published, tmp_path)
    assert found.startswith(f'{file}: 11 of 13 files are not below {tmp_path / "val2017"}: ')
    assert found.endswith(', ...')
    assert found.count('.jpg') == 10
    for name in names:
        touch(tmp_path / 'val2017' / name)
    (right,) = examine(published, tmp_path)
    assert right == Finding(True, f'{file}: 13 images of 2 classes; 1 have objects')
    file.write_text(json.dumps({**content, 'annotations': []}))
    assert wrongs(published, tmp_path)[0].endswith('; 0 have objects; expected 1')
    file.write_text(json.dumps({**content, 'annotations': [{}]}))
    assert wrongs(published, tmp_path)[0].endswith("without 'image_id'")
    for wrong in (None, 5, {'image_id': [1]}):
        file.write_text(json.dumps({**content, 'annotations': [wrong]}))
        assert wrongs(published, tmp_path) == [f'{file}: an image or annotation without an id']
    file.unlink()
    assert 'cannot be read' in wrongs(published, tmp_path)[0]
    assert source_of(published, tmp_path).startswith(
        f"dict(type='CocoInstances', root='{tmp_path}/"
    )


def places365(root):
    lines = [f'/{name}/0000000{n}.jpg {label}' for n, (name, label) in enumerate(ROWS)]
    (root / 'places365_train_standard.txt').write_text('\n'.join(lines))
    (root / 'places365_val.txt').write_text('Places365_val_00000001.jpg 1\n')
    for line in lines:
        touch(root / 'data_256' / line.split()[0][1:])
    touch(root / 'val_256' / 'Places365_val_00000001.jpg')


ROWS = [('a/airfield', 0), ('b/bow_window/indoor', 1), ('a/airfield', 0)]


def test_lists_of_places365(tmp_path):
    places365(tmp_path)
    published = small('places365', classes=2, images=None)
    assert wrongs(published, tmp_path) == []
    written = (tmp_path / 'lists' / 'train.txt').read_text().splitlines()
    assert written == [
        'data_256/a/airfield/00000000.jpg 0',
        'data_256/b/bow_window/indoor/00000001.jpg 1',
        'data_256/a/airfield/00000002.jpg 0',
    ]
    source = ImageFolder(str(tmp_path), list_file='lists/train.txt', classes=['0', '1'])
    assert source.get_gt_labels().tolist() == [0, 1, 0]
    assert source.get_data_info(1)['img_path'] == f'{tmp_path}/{written[1].split()[0]}'
    assert (tmp_path / 'lists' / 'val.txt').read_text() == 'val_256/Places365_val_00000001.jpg 1\n'


def test_no_list_is_written_of_files_that_are_missing(tmp_path):
    places365(tmp_path)
    published = small('places365', classes=2, images=None)
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'lists' / 'train.txt').write_text('old')
    (tmp_path / 'data_256' / 'b/bow_window/indoor/00000001.jpg').unlink()
    (found,) = wrongs(published, tmp_path)
    assert '1 of 3 files are not below' in found
    assert found.endswith(': data_256/b/bow_window/indoor/00000001.jpg')
    assert (tmp_path / 'lists' / 'train.txt').read_text() == 'old'
    assert sorted(path.name for path in (tmp_path / 'lists').iterdir()) == ['train.txt', 'val.txt']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('a/b.jpg', "places365_val.txt:1: expected a path and a label, got 'a/b.jpg'"),
        ('a/b.jpg two', 'expected a path and a label'),
        ('', 'places365_val.txt: is empty'),
        ('a/b.jpg 2', 'label 2, but there are 2 classes'),
        (None, 'places365_val.txt: no such file'),
    ],
)
def test_a_list_of_another_kind(tmp_path, content, message):
    places365(tmp_path)
    (tmp_path / 'places365_val.txt').unlink()
    if content is not None:
        (tmp_path / 'places365_val.txt').write_text(content)
    (found,) = wrongs(small('places365', classes=2, images=None), tmp_path)
    assert message in found


def test_csv_files_of_places205(tmp_path):
    folder = tmp_path / 'data/vision/torralba/deeplearning/images256'
    for split in ('train', 'val'):
        touch(folder / f'a/abbey/{split} 1.jpg')
        file = tmp_path / 'trainvalsplit_places205' / f'{split}_places205.csv'
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'a/abbey/{split} 1.jpg,204\r\n')
    published = small('places205', images=1)
    assert wrongs(published, tmp_path) == []
    line = 'data/vision/torralba/deeplearning/images256/a/abbey/val 1.jpg 204\n'
    assert (tmp_path / 'lists' / 'val.txt').read_text() == line
    source = ImageFolder(
        str(tmp_path), list_file='lists/val.txt', classes=[str(i) for i in range(205)]
    )
    assert source.get_data_info(0) == {'img_path': f'{folder}/a/abbey/val 1.jpg', 'gt_label': 204}
    assert 'expected 2' in wrongs(small('places205', images=2), tmp_path)[0]


def test_lists_of_the_realms(tmp_path):
    """As `download_image.py` unpacks the images and the repository has the lists of version 2."""
    realms = ['vascular_plant' if realm == 'plant' else realm for realm in REALM_CLASSES]
    for realm in realms:
        for split in ('train', 'val', 'test'):
            touch(tmp_path / realm / f'{realm}.{split}' / 'images' / '1_c.jpg')
            file = tmp_path / 'meta_v2' / realm / f'{split}.txt'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f'{split}/images/1_c.jpg 19\n')
    published = CATALOGUE['omnibenchmark']
    assert wrongs(published, tmp_path) == []
    assert "type='OmniBenchmark'" in source_of(published, tmp_path)
    line = (tmp_path / 'lists' / 'plant' / 'val.txt').read_text()
    assert line == 'vascular_plant/vascular_plant.val/images/1_c.jpg 19\n'
    prepared = OmniBenchmark(str(tmp_path), 'val')
    shutil.rmtree(tmp_path / 'lists')
    theirs = OmniBenchmark(str(tmp_path), 'val')
    assert [prepared.get_data_info(n) for n in range(21)] == [
        theirs.get_data_info(n) for n in range(21)
    ]
    (tmp_path / 'meta_v2' / 'bird' / 'test.txt').unlink()
    assert wrongs(published, tmp_path) == [
        f'{tmp_path}/bird/annotations/v2/test.txt or {tmp_path}/meta_v2/bird/test.txt: no such file'
    ]


@pytest.mark.parametrize(
    ('folder', 'file'), [('{realm}.{split}', 'record.txt'), ('{split}', 'records.txt')]
)
def test_lists_of_the_realms_of_version_1(tmp_path, folder, file):
    """As in the authors' README, and as their download tool writes them."""
    for realm in ('vascular_plant' if realm == 'plant' else realm for realm in REALM_CLASSES):
        for split in ('train', 'val', 'test'):
            below = tmp_path / realm / folder.format(realm=realm, split=split)
            touch(below / 'images' / '1_c.jpg')
            (below / file).write_text('images/0_lost.jpg 3\nimages/1_c.jpg 900\n')
    published = CATALOGUE['omnibenchmark-v1']
    assert len(wrongs(published, tmp_path)) == 63
    source = OmniBenchmark(str(tmp_path), 'test', version='v1', allow_missing=True)
    assert source.get_gt_labels().tolist() == 21 * [900]
    for path in tmp_path.rglob('images'):
        touch(path / '0_lost.jpg')
    theirs = OmniBenchmark(str(tmp_path), 'test', version='v1')
    assert wrongs(published, tmp_path) == []
    assert "version='v1'" in source_of(published, tmp_path)
    assert (tmp_path / 'lists' / 'v1' / 'plant' / 'test.txt').is_file()
    prepared = OmniBenchmark(str(tmp_path), 'test', version='v1')
    assert len(prepared) == 42
    assert [prepared.get_data_info(n) for n in range(42)] == [
        theirs.get_data_info(n) for n in range(42)
    ]
    with pytest.raises(DataError, match='realms of OmniBenchmark v2 without a test list: all'):
        OmniBenchmark(str(tmp_path), 'test')


def test_md5_of_archives(tmp_path):
    content = b'an archive'
    digest = hashlib.md5(content).hexdigest()
    published = PublishedSet(
        'A set',
        'https://example.org',
        'none',
        '{folder}',
        (ClassFolders(('',), 0, (0,)),),
        archives={'a.tar': digest, 'b.tar': '0' * 32, 'c.tar': None, 'd.tar': digest},
    )
    for name in 'abc':
        (tmp_path / f'{name}.tar').write_bytes(content)
    texts = {finding.text for finding in examine(published, tmp_path, md5=True)}
    assert f'{tmp_path}/a.tar: its MD5 is the published one' in texts
    assert f'{tmp_path}/c.tar: no MD5 was published to compare with' in texts
    assert wrongs(published, tmp_path, md5=True) == [
        f'{tmp_path}/b.tar: MD5 {digest}, published is {"0" * 32}: fetch it again'
    ]
    assert wrongs(published, tmp_path) == []


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match=r'no such folder; ImageNet-R .* comes from https://github'):
        list(examine(CATALOGUE['imagenet-r'], tmp_path / 'nothing'))


@pytest.mark.parametrize('name', ['ade20k', 'imagenet-s'])
def test_label_maps(tmp_path, name):
    (part,) = CATALOGUE[name].parts
    published = replace(
        CATALOGUE[name], parts=(replace(part, numbers={'large': (9, 9), 'small': (2, 1)}),)
    )
    for number, (images, maps) in zip((2, 1), part.folders, strict=True):
        for n in range(number):
            touch(tmp_path / images / f'n00000001/{n}.jpg')
            touch(tmp_path / maps / f'n00000001/{n}.png')
    (finding,) = examine(published, tmp_path)
    assert finding.is_right
    assert finding.text.endswith('each with its image: small')
    images, maps = part.folders[0]
    touch(tmp_path / maps / 'n00000001/9.png')
    assert wrongs(published, tmp_path) == [
        f'1 label maps of {tmp_path / maps} have no image in {tmp_path / images}: n00000001/9.png'
    ]
    touch(tmp_path / images / 'n00000001/9.jpg')
    assert wrongs(published, tmp_path) == [
        f'{tmp_path}: 3 maps in {maps}, 1 maps in {part.folders[1][1]}, each with its image; '
        'expected 9 and 9 (large) or 2 and 1 (small)'
    ]
    tmp_path.joinpath('outer').mkdir()
    inner = tmp_path / 'outer' / part.inner
    inner.mkdir()
    assert all(f'; {inner} is there: give it as ROOT' in t for t in wrongs(published, inner.parent))
