import shutil

import pytest

from mae.datasets import OmniBenchmark
from mae.datasets.sources.omnibenchmark import REALMS
from mae.utils.errors import ConfigError, DataError

LABELS = (3, 0, 3, 7)


def fill(root, realm, split, start='', folder=None, v1=False, meta=False):
    """A realm's images as the download tool puts them, and its list with paths as given."""
    folder = root / realm / (folder or f'{realm}.{split}') / 'images'
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f'{number}.jpg').touch()
    list_file = root / realm / 'annotations' / 'v2' / f'{split}.txt'
    if meta:
        list_file = root / 'meta_v2' / realm / f'{split}.txt'
    if v1:
        list_file = root / realm / f'{realm}.{split}' / 'record.txt'
    list_file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'{start}{number}.jpg {label}' for number, label in enumerate(LABELS)]
    list_file.write_text('\n'.join(lines))
    return folder


@pytest.fixture
def root(tmp_path):
    for realm in REALMS:
        name = 'vascular_plant' if realm == 'plant' else realm
        fill(tmp_path, name, 'val', start='val/images/')
    (tmp_path / 'README.md').touch()
    return tmp_path


def test_all_realms(root):
    source = OmniBenchmark(str(root), 'val')
    assert source.metainfo == {'groups': REALMS}
    assert len(source) == 84
    assert source.get_gt_labels().tolist() == 21 * list(LABELS)
    assert source.get_data_info(4 * 4 + 3) == {
        'img_path': str(root / 'bird/bird.val/images/3.jpg'),
        'gt_label': 7,
        'group': 4,
    }
    plant = source.get_data_info(4 * REALMS.index('plant'))
    assert plant['img_path'].endswith('vascular_plant/vascular_plant.val/images/0.jpg')


@pytest.mark.parametrize(
    'options',
    [
        dict(start='test/images/', folder='test'),
        dict(start='test/images/', meta=True),
        dict(start='car.test/images/', v1=True),
        dict(start='car/car.test/images/', v1=True),
        dict(start='images/', v1=True),
        dict(start='', v1=True),
    ],
)
def test_paths_relative_to_other_folders(tmp_path, options):
    folder = fill(tmp_path, 'car', 'test', **options)
    version = 'v1' if options.get('v1') else 'v2'
    source = OmniBenchmark(str(tmp_path), 'test', version=version, realms=['car'])
    paths = [source.get_data_info(n)['img_path'] for n in range(4)]
    assert paths == [str(folder / f'{n}.jpg') for n in range(4)]


def test_lists_in_one_folder_of_their_own(root):
    whole = OmniBenchmark(str(root), 'val')
    for realm in REALMS:
        name = 'vascular_plant' if realm == 'plant' else realm
        (root / 'meta_v2').mkdir(exist_ok=True)
        (root / name / 'annotations' / 'v2').rename(root / 'meta_v2' / name)
    source = OmniBenchmark(str(root), 'val')
    assert source.get_data_info(70) == whole.get_data_info(70)
    assert len(source) == len(whole)


def test_missing_realms(root):
    for realm in ('bird', 'food'):
        shutil.rmtree(root / realm)
    with pytest.raises(DataError, match=r'without a val list: bird, food; allow_missing=True'):
        OmniBenchmark(str(root), 'val')
    source = OmniBenchmark(str(root), 'val', allow_missing=True)
    assert source.metainfo['missing'] == ('bird', 'food')
    assert len(source.metainfo['groups']) == 19
    for allow in (False, True):
        with pytest.raises(DataError, match=r'all; expected .*activity/annotations/v2/train\.txt'):
            OmniBenchmark(str(root), 'train', allow_missing=allow)


def test_missing_images(root):
    for number in (0, 2):
        (root / 'car' / 'car.val' / 'images' / f'{number}.jpg').unlink()
    told = r'2 of its 4 images do not exist: val/images/0\.jpg, val/images/2\.jpg; allow_missing'
    with pytest.raises(DataError, match=told):
        OmniBenchmark(str(root), 'val')
    source = OmniBenchmark(str(root), 'val', realms=['car', 'food'], allow_missing=True)
    assert source.get_gt_labels().tolist() == [0, 7, *LABELS]
    assert source.get_data_info(0)['img_path'].endswith('images/1.jpg')
    shutil.rmtree(root / 'car' / 'car.val')
    with pytest.raises(
        DataError, match=r'none of its first 4 images exists; expected .*car/car.val'
    ):
        OmniBenchmark(str(root), 'val', realms=['car'], allow_missing=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(split='valid'), "split must be 'train', 'val' or 'test'"),
        (dict(realms=['bird', 'bird']), 'must be different names'),
        (dict(version='v3'), "version 'v1' or 'v2', not 'val' and 'v3'"),
        (dict(realms=['cars']), r"no realm 'cars'; did you mean car\?"),
    ],
)
def test_other_names(root, options, message):
    with pytest.raises(ConfigError, match=message):
        OmniBenchmark(str(root), **{'split': 'val', **options})
