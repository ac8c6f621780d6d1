import logging
import re
import shutil

import pytest
from mmengine.logging import MMLogger

from mae.datasets import ImageNetC
from mae.datasets.sources.imagenet_c import CORRUPTIONS, EXTRA_CORRUPTIONS
from mae.utils.errors import ConfigError, DataError

NAMES = ('n01', 'n02')


def fill(folder, count=2):
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f'ILSVRC2012_val_{number:08}.JPEG').touch()


@pytest.fixture
def root(tmp_path):
    """75 folders as the archives unpack, some below noise/ and blur/, and notes between."""
    below = dict.fromkeys(CORRUPTIONS[:3], 'noise') | dict.fromkeys(CORRUPTIONS[3:7], 'blur')
    for corruption in CORRUPTIONS:
        for severity in range(1, 6):
            fill(tmp_path / below.get(corruption, '') / corruption / str(severity))
        (tmp_path / below.get(corruption, '') / corruption / 'README').touch()
    for name in ('README.md', 'noise.tar', 'blur/README.txt', 'fog/1/LICENSE.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'docs').mkdir()
    return tmp_path


@pytest.fixture
def log(monkeypatch):
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [handler])
    return found


def test_real_layout(root):
    source = ImageNetC(str(root), classes=NAMES)
    names = [f'{name}/{severity}' for name in CORRUPTIONS for severity in range(1, 6)]
    assert source.metainfo == {'groups': tuple(names), 'classes': NAMES}
    assert len(source) == 75 * 4
    for group in (0, 30, 74):
        info = source.get_data_info(4 * group + 2)
        assert names[group] in info['img_path']
        assert (info['group'], info['gt_label']) == (group, 1)
    assert '/noise/gaussian_noise/1/' in source.get_data_info(0)['img_path']


def test_chosen_ones(root):
    source = ImageNetC(str(root), corruptions=['fog', 'snow'], severities=[3, 1], classes=NAMES)
    assert source.metainfo['groups'] == ('fog/1', 'fog/3', 'snow/1', 'snow/3')
    with pytest.raises(DataError, match='missing of ImageNet-C: speckle_noise, gaussian_blur, spa'):
        ImageNetC(str(root), corruptions='all', classes=NAMES)
    for name in EXTRA_CORRUPTIONS:
        for severity in range(1, 6):
            fill(root / 'extra' / name / str(severity))
    assert len(ImageNetC(str(root), corruptions='all', classes=NAMES)) == 95 * 4


def test_missing_ones_are_named(root, log):
    shutil.rmtree(root / 'fog')
    shutil.rmtree(root / 'noise' / 'shot_noise' / '4')
    shutil.rmtree(root / 'blur' / 'zoom_blur' / '1')
    (root / 'blur' / 'zoom_blur' / '1').mkdir()
    told = 'missing of ImageNet-C: shot_noise/4, zoom_blur/1, fog; '
    with pytest.raises(DataError, match=f'{told}allow_missing=True evaluates the rest'):
        ImageNetC(str(root), classes=NAMES)
    source = ImageNetC(str(root), classes=NAMES, allow_missing=True)
    assert len(source.metainfo['groups']) == 75 - 7
    missing = source.metainfo['missing']
    assert missing == ('shot_noise/4', 'zoom_blur/1', *(f'fog/{n}' for n in range(1, 6)))
    assert log == [f'{root}: {told}the rest is evaluated']


def test_a_folder_of_which_images_are_missing(root, log):
    (root / 'snow' / '2' / 'n02' / 'ILSVRC2012_val_00000001.JPEG').unlink()
    told = 'ImageNet-C is not whole: snow/2 has 2 of 2 classes and 3 of 4 images'
    with pytest.raises(DataError, match=f'{told}: unpack its archive again, or allow_missing=True'):
        ImageNetC(str(root), classes=NAMES)
    source = ImageNetC(str(root), classes=NAMES, allow_missing=True)
    assert len(source) == 75 * 4 - 1
    assert source.metainfo['incomplete'] == ('snow/2',)
    assert log == [f'{root}: {told}; the rest is evaluated']


def test_classes_that_every_folder_lacks(root, log):
    told = 'gaussian_noise/1 has 2 of 3 classes and 4 of 5 images (and 74 more such folders)'
    with pytest.raises(DataError, match=re.escape(told)):
        ImageNetC(str(root), classes=[*NAMES, 'n03'])
    source = ImageNetC(str(root), classes=[*NAMES, 'n03'], allow_missing=True)
    assert len(source.metainfo['incomplete']) == 75


def test_fifty_images_of_each_class_of_imagenet(root):
    for folder in root.rglob('n01'):
        folder.rename(folder.with_name('n01440764'))
    told = 'gaussian_noise/1 has 1 of 1000 classes and 2 of 50000 images (and 74 more'
    with pytest.raises(DataError, match=re.escape(told)):
        ImageNetC(str(root))


def test_links_to_a_folder_are_no_second_one(root):
    whole = len(ImageNetC(str(root), classes=NAMES))
    (real,) = root.rglob('gaussian_noise')
    (root / 'again').mkdir()
    (root / 'again' / 'gaussian_noise').symlink_to(real)
    assert len(ImageNetC(str(root), classes=NAMES)) == whole


def test_a_folder_that_is_there_twice(root):
    fill(root / 'weather' / 'snow' / '2')
    with pytest.raises(DataError, match='snow/2 is there twice; remove one'):
        ImageNetC(str(root), classes=NAMES)


def test_another_folder(tmp_path):
    for root in (tmp_path, tmp_path / 'none'):
        for allow in (False, True):
            with pytest.raises(DataError, match=r'expected (gaussian_noise/1|ImageNet-C)'):
                ImageNetC(str(root), allow_missing=allow)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(corruptions=['fogg']), "no 'fogg'; did you mean fog?"),
        (dict(corruptions='fog'), "must be 'standard', 'all' or a list, not 'fog'"),
        (dict(corruptions=['fog', 'fog']), 'must be different names'),
        (dict(severities=[0, 1]), r'must be some of 1 to 5, not \[0, 1\]'),
        (dict(severities=[]), 'must be some of 1 to 5'),
        (dict(severities=3), 'must be some of 1 to 5, not 3'),
        (dict(severities=[1.0]), r'must be some of 1 to 5, not \[1.0\]'),
    ],
)
def test_other_names(root, options, message):
    with pytest.raises(ConfigError, match=message):
        ImageNetC(str(root), classes=NAMES, **options)
