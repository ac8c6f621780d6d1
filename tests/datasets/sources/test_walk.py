"""Hidden and system files are no data, and no folder counts twice, whatever walks there."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mae.apis.images import name_images
from mae.datasets import ArrowImages, ImageFolder
from mae.datasets.sources import index_cache, walk
from mae.datasets.sources.arrow import holds_tables
from mae.utils.errors import DataError

TOOLS = Path(__file__).resolve().parents[3] / 'tools'
HIDDEN = [
    '.0.jpg',
    '._0.jpg',
    '.ipynb_checkpoints/0-checkpoint.jpg',
    '.thumbs/deep/0.jpg',
    '@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg',
    '__MACOSX/cat/0.jpg',
    'lost+found/0.jpg',
    '#recycle/0.jpg',
    '$RECYCLE.BIN/0.jpg',
    'System Volume Information/0.jpg',
]


@pytest.fixture
def warned(monkeypatch):
    """Lines that a walk logged."""
    lines = []
    monkeypatch.setattr(walk, 'print_log', lambda line, *_: lines.append(line))
    return lines


@pytest.fixture
def root(tmp_path):
    """Two images in two classes of `train`, among hidden ones on every level."""
    root = tmp_path / 'photos'
    picture(root / 'train/cat/0.jpg')
    picture(root / 'train/dog/deep/1.jpg')
    for name in HIDDEN:
        for below in ('', 'train', 'train/cat', 'train/dog/deep'):
            picture(root / below / name)
    return root


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)


def paths(dataset):
    found = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    return [os.path.relpath(path, dataset.folder) for path in found]


def main_of(name):
    spec = importlib.util.spec_from_file_location(Path(name).stem, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


# --- hidden files -------------------------------------------------------------------------


@pytest.mark.parametrize('labelled', [True, False])
def test_hidden_files_are_no_images_and_hidden_folders_no_classes(root, labelled):
    folder = ImageFolder(str(root), 'train', labelled=labelled)
    assert paths(folder) == ['cat/0.jpg', 'dog/deep/1.jpg']
    assert folder.metainfo['classes'] == (('cat', 'dog') if labelled else ())


@pytest.mark.parametrize('labelled', [True, False])
def test_an_index_of_other_rules_is_rebuilt(root, labelled, monkeypatch):
    monkeypatch.setattr(index_cache, 'WORTH_KEEPING', 1)
    monkeypatch.setattr(index_cache, 'SETTLING_SECONDS', -1e9)
    lines = []
    monkeypatch.setattr(index_cache, 'print_log', lambda line, logger: lines.append(line))
    with monkeypatch.context() as before:
        before.setattr(walk, 'is_hidden', lambda name: name.startswith('.git'))
        before.setattr(index_cache, 'RULES', index_cache.RULES - 1)
        old = ImageFolder(str(root), 'train', labelled=labelled)
        assert len(old) > 20
    assert paths(ImageFolder(str(root), 'train', labelled=labelled)) == paths(
        ImageFolder(str(root), 'train', labelled=labelled, index_cache=False)
    )
    assert lines[1].endswith('what is an image')


def test_hidden_files_are_not_images_of_inferencers(root):
    named = [os.path.relpath(name, root) for name, _ in name_images(root)]
    assert named == ['train/cat/0.jpg', 'train/dog/deep/1.jpg']
    one = root / 'train/cat/.0.jpg'  # asked for by its name
    assert [name for name, _ in name_images([one])] == [str(one)]


def test_a_folder_that_is_hidden_itself_can_be_the_root(root):
    hidden = root / '.cache/photos'
    shutil.copytree(root / 'train', hidden)
    assert paths(ImageFolder(str(hidden))) == ['cat/0.jpg', 'dog/deep/1.jpg']


def test_tools_leave_hidden_files_out(root, tmp_path, capsys):
    (root / 'train/cat/._bad.png').write_bytes(b'\0\5\26\7')
    main_of('data/verify')([str(root / 'train'), '--workers', '0'])
    assert '2 images checked, 0 bad' in capsys.readouterr().out
    (root / 'train/._train.parquet').write_bytes(b'\0\5\26\7')  # makes it no folder of tables
    main_of('data/pack')([str(root / 'train'), str(tmp_path / 'packed'), '--keep'])
    assert '2 images packed' in capsys.readouterr().out


def test_hidden_tables_are_none(tmp_path):
    pa = pytest.importorskip('pyarrow')
    pq = pytest.importorskip('pyarrow.parquet')
    table = pa.table({'image': [b'1', b'2'], 'label': [0, 1]})
    pq.write_table(table, tmp_path / 'train.parquet')
    for name in ('._train.parquet', '.cache/train.parquet', '__MACOSX/._train.parquet'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'\0\5\26\7')
    (tmp_path / 'again').symlink_to('.')
    assert len(ArrowImages(str(tmp_path))) == 2
    assert holds_tables(str(tmp_path))
    (tmp_path / 'train.parquet').unlink()
    assert not holds_tables(str(tmp_path))


# --- folders that are reached twice -------------------------------------------------------


def link(root, name, target):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(target)


@pytest.mark.parametrize(('name', 'target'), [('cat/up', '..'), ('cat/self', '.'), ('up', '.')])
@pytest.mark.parametrize('labelled', [True, False])
def test_links_upwards_end(root, warned, name, target, labelled):
    link(root / 'train', name, target)
    folder = ImageFolder(str(root), 'train', labelled=labelled)
    assert paths(folder) == ['cat/0.jpg', 'dog/deep/1.jpg']
    assert folder.metainfo['classes'] == (('cat', 'dog') if labelled else ())
    assert f'{root}/train/{name} leads back to {root}/train' in warned[0]


def test_a_link_above_the_root_brings_no_other_images(root, warned):
    picture(root / 'val/cat/9.jpg')
    link(root / 'train', 'cat/all', root)
    assert paths(ImageFolder(str(root), 'train')) == ['cat/0.jpg', 'dog/deep/1.jpg']
    assert warned == [
        f'{root}/train/cat/all leads back to {root}, which holds it: it is not entered'
    ]


def test_a_folder_reached_sideways_is_counted_once(root, warned):
    for number in range(3):
        link(root / 'train', f'dog/link{number}', 'deep')
    expected = ['cat/0.jpg', 'dog/deep/1.jpg']
    for labelled in (True, False):
        assert paths(ImageFolder(str(root), 'train', labelled=labelled)) == expected
    assert warned[0].startswith(f'{root}/train/dog/link0 ')
    assert f' {root}/train/dog/deep: ' in warned[0]
    assert warned[0].endswith('(and 2 more such folders)')
    link(root / 'train', 'zebra', 'cat')
    assert paths(ImageFolder(str(root), 'train', labelled=False)) == expected


@pytest.mark.parametrize(
    ('name', 'target', 'one', 'two'),
    [
        ('feline', 'cat', 'cat', 'feline'),
        ('aardvark', 'cat', 'aardvark', 'cat'),
        ('cat/dogs', '../dog/deep', 'cat/dogs', 'dog/deep'),
    ],
)
def test_two_classes_of_one_folder_are_an_error(root, name, target, one, two):
    link(root / 'train', name, target)
    with pytest.raises(DataError) as error:
        ImageFolder(str(root), 'train')
    assert f'{root}/train/{one} and {root}/train/{two} are the same folder' in str(error.value)
    assert '\n' not in str(error.value)
    if name == 'feline':
        assert paths(ImageFolder(str(root), 'train', classes=['cat', 'dog'])) != []


def test_other_links_are_followed(root, tmp_path, warned):
    picture(tmp_path / 'elsewhere/2.jpg')
    link(root / 'train', 'dog/more', tmp_path / 'elsewhere')
    link(root / 'train', 'emu', tmp_path / 'elsewhere/emus')
    picture(tmp_path / 'elsewhere/emus/3.jpg')
    (root / 'train/emu').unlink()
    assert paths(ImageFolder(str(root), 'train')) == [
        'cat/0.jpg',
        'dog/deep/1.jpg',
        'dog/more/2.jpg',
        'dog/more/emus/3.jpg',
    ]
    assert warned == []


def test_file_systems_without_numbers_are_told_by_their_paths(root, monkeypatch, warned):
    class Unnumbered:
        def __init__(self, status):
            self._status = status

        def __getattr__(self, name):
            return 0 if name == 'st_ino' else getattr(self._status, name)

    plain = os.stat
    link(root / 'train', 'cat/up', '..')
    with monkeypatch.context() as patch:
        patch.setattr(walk.os, 'stat', lambda path, **how: Unnumbered(plain(path, **how)))
        found = ImageFolder(str(root), 'train', index_cache=False)
    assert paths(found) == ['cat/0.jpg', 'dog/deep/1.jpg']
    assert len(warned) == 1


def test_a_class_that_is_a_link_to_itself_is_none(root):
    link(root / 'train', 'loop', 'loop')
    assert ImageFolder(str(root), 'train').metainfo['classes'] == ('cat', 'dog')
