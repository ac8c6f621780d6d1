import json
import os

import pytest

from mae.datasets import ImageFolder, Quarantined, SeededDataset, read_quarantine, write_quarantine
from mae.utils.errors import DataError

PACK = {'type': 'PackInputs'}


@pytest.fixture
def kept(tree, tmp_path):
    """kept(*lines, split=...) are the images that a list leaves, below their folder."""

    def names(*lines, split='val', root=tree):
        (tmp_path / 'list.txt').write_text('\n'.join(lines))
        source = Quarantined(ImageFolder(str(root), split, labelled=False), tmp_path / 'list.txt')
        paths = [source.get_data_info(index)['img_path'] for index in range(len(source))]
        return [path.removeprefix(f'{tree / "val"}/') for path in paths]

    return names


ALL = ['n01/0.JPEG', 'n01/1.jpg', 'n02/0.JPEG', 'n02/1.jpg', 'n03/0.JPEG', 'n03/1.jpg']


@pytest.mark.parametrize(
    'line',
    [
        'n02/1.jpg',
        './n02//1.jpg',
        'val/n02/1.jpg',
        '{"path": "n02/1.jpg", "reason": "damaged"}',
        '{"epoch": 1, "step": 3, "path": "val/n02/1.jpg", "reason": "damaged"}',
    ],
)
def test_a_path_fits_below_any_common_folder(kept, line):
    assert kept('# a comment', '', line) == [name for name in ALL if name != 'n02/1.jpg']


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('line', ['n02/1.jpg', '{"path": "n02/1.jpg"}'])
def test_a_byte_order_mark_is_no_part_of_the_first_path(tree, tmp_path, encoding, line):
    (tmp_path / 'list.txt').write_bytes(f'{line}\r\nn03/é.jpg\r\n'.encode(encoding))
    assert read_quarantine(tmp_path / 'list.txt') == {'n02/1.jpg', 'n03/é.jpg'}
    source = ImageFolder(str(tree), 'val', labelled=False)
    assert len(Quarantined(source, tmp_path / 'list.txt')) == len(ALL) - 1


@pytest.mark.parametrize('name', [b'\xff \xe9.png', ' nbsp\u00a0.png'.encode(), b' led.png'])
def test_names_that_are_no_text_go_there_and_back(tmp_path, name):
    root = tmp_path / 'images'
    root.mkdir()
    for each in (name, b'good.png'):
        (root / os.fsdecode(each)).touch()
    write_quarantine(tmp_path / 'list.txt', [(os.fsdecode(name), 'bad')])
    left = Quarantined(ImageFolder(str(root), labelled=False), tmp_path / 'list.txt')
    assert [left.get_data_info(i)['img_path'] for i in range(len(left))] == [str(root / 'good.png')]
    if not name.startswith(b' '):  # a line that is no JSON has its blanks around it taken off
        (tmp_path / 'list.txt').write_bytes(name + b'\n')
        assert read_quarantine(tmp_path / 'list.txt') == {os.fsdecode(name)}


def test_an_absolute_path_fits_a_relative_root(kept, tree, monkeypatch):
    monkeypatch.chdir(tree.parent)
    assert len(kept(str(tree / 'val/n02/1.jpg'), root=tree.name)) == 5


def test_other_paths_fit_nothing(kept):
    assert kept('1.jpg', '02/1.jpg', 'n02/1.jpg.old', 'train/n02/1.jpg', 'n02') == ALL
    assert kept('') == ALL


def test_labels_and_classes_stay_with_their_images(tree, tmp_path):
    write_quarantine(tmp_path / 'list.txt', [('n01/0.JPEG', 'bad "quotes"\nand lines')])
    source = {'type': 'ImageFolder', 'root': str(tree), 'split': 'val'}
    pipeline = [{'type': 'DecodeImage'}, PACK]
    whole = SeededDataset(source, pipeline)
    less = SeededDataset(source, pipeline, quarantine=str(tmp_path / 'list.txt'))
    assert (len(whole), len(less)) == (6, 5)
    assert less.metainfo == whole.metainfo
    assert [less[i]['label'] for i in range(5)] == [whole[i]['label'] for i in range(1, 6)]
    assert less.name(0).endswith('n01/1.jpg')


def test_images_in_memory_have_no_path_to_list(tmp_path):
    write_quarantine(tmp_path / 'list.txt', [('a.jpg', 'bad')])
    digits = {'type': 'Digits'}
    assert len(SeededDataset(digits, [PACK], quarantine=str(tmp_path / 'list.txt'))) == 1437


def test_mistakes(tmp_path, kept, tree):
    with pytest.raises(DataError, match=r'gone.txt: no such quarantine list'):
        read_quarantine(tmp_path / 'gone.txt')
    for line in ('{"file": "n01/1.jpg"}', '{"path": 1}', '{"path": null}'):
        with pytest.raises(DataError, match=r'list.txt:2: expected \{"path"'):
            kept('n01/0.JPEG', line)
    (tmp_path / 'list.txt').write_bytes('a.jpg\n'.encode('utf-16-le'))
    with pytest.raises(DataError, match=r'list\.txt:1: .*zero byte.*UTF-16'):
        read_quarantine(tmp_path / 'list.txt')
    with pytest.raises(DataError, match='leaves none of the 6 samples'):
        kept(*ALL)


def test_a_list_is_written_whole_or_not_at_all(tmp_path):
    write_quarantine(tmp_path / 'list.txt', [('a', 'x')])

    def failing():
        yield 'b', 'y'
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        write_quarantine(tmp_path / 'list.txt', failing())
    assert json.loads((tmp_path / 'list.txt').read_text()) == {'path': 'a', 'reason': 'x'}
    assert [path.name for path in tmp_path.iterdir()] == ['list.txt']
