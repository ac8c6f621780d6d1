import os

import pytest

from mae.datasets import ImageFolder
from mae.datasets.sources import folder
from mae.utils.class_lists import class_list
from mae.utils.errors import ConfigError, DataError


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b'')
    return str(root)


def items(folder):
    infos = [folder.get_data_info(index) for index in range(len(folder))]
    return [(os.path.relpath(i['img_path'], folder.folder), i['gt_label']) for i in infos]


def test_imagenet_tree(tree):
    folder = ImageFolder(str(tree), 'train')
    assert folder.metainfo['classes'] == ('n01', 'n02', 'n03')
    assert len(folder) == 24
    assert all(os.path.isfile(folder.get_data_info(i)['img_path']) for i in range(24))
    assert [folder.get_data_info(i)['gt_label'] for i in (0, 7, 8, 23)] == [0, 0, 1, 2]


def test_order_extensions_depth_and_odd_names(tmp_path):
    root = touch(
        tmp_path,
        'b/2.PNG',
        'b/10.jpeg',
        'a/deep/er/x y.JpG',
        'a/é.bmp',
        'a/notes.txt',
        '.git/o.png',
    )
    assert items(ImageFolder(root)) == [
        ('a/é.bmp', 0),
        ('a/deep/er/x y.JpG', 0),
        ('b/10.jpeg', 1),
        ('b/2.PNG', 1),
    ]


def test_paths_can_be_read_from_the_end(tmp_path):
    folder = ImageFolder(touch(tmp_path, 'a/1.png', 'b/2.png'))
    assert folder.get_data_info(-1) == {'img_path': str(tmp_path / 'b/2.png'), 'gt_label': 1}
    with pytest.raises(IndexError):
        folder.get_data_info(2)


@pytest.mark.parametrize('paths', [('2.png', '1.png'), ('b/2.png', 'a/1.png')])
def test_without_labels(tmp_path, paths):
    folder = ImageFolder(touch(tmp_path, *paths), labelled=False)
    assert items(folder) == [(path, -1) for path in sorted(paths)]
    assert folder.metainfo['classes'] == ()


def test_the_train_split_numbers_the_classes(tmp_path):
    touch(tmp_path, 'train/a/1.png', 'train/b/1.png', 'train/c/1.png', 'val/c/1.png')
    folder = ImageFolder(str(tmp_path), 'val')
    assert items(folder) == [('c/1.png', 2)]
    assert folder.metainfo['classes'] == ('a', 'b', 'c')
    touch(tmp_path, 'val/d/1.png')
    with pytest.raises(DataError, match=r"class folder 'd' .* 3 .*'train'"):
        ImageFolder(str(tmp_path), 'val')


def test_given_classes_choose_and_number(tmp_path):
    root = touch(tmp_path, 'a/1.png', 'b/1.png', 'c/1.png')
    folder = ImageFolder(root, classes=['c', 'z', 'a'])
    assert items(folder) == [('c/1.png', 0), ('a/1.png', 2)]
    assert folder.metainfo['classes'] == ('c', 'z', 'a')
    with pytest.raises(ConfigError, match="ImageFolder: classes names 'a' twice"):
        ImageFolder(root, classes=['a', 'b', 'a'])


def test_mmpretrain_meta_file_is_found(tmp_path):
    touch(tmp_path, 'train/b/1.png', 'train/a/2.png', 'val/v1.png', 'val/v2.png')
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/train.txt').write_text('b/1.png 1\na/2.png 0\n')
    (tmp_path / 'meta/val.txt').write_text('v1.png 1\n\nv2.png 0\n')
    assert items(ImageFolder(str(tmp_path), 'train')) == [('b/1.png', 1), ('a/2.png', 0)]
    val = ImageFolder(str(tmp_path), 'val')
    assert items(val) == [('v1.png', 1), ('v2.png', 0)]
    assert val.metainfo['classes'] == ('a', 'b')
    assert items(ImageFolder(str(tmp_path), 'train', labelled=False))[0] == ('a/2.png', -1)


@pytest.mark.parametrize('where', ['below', 'elsewhere'])
def test_list_file(tmp_path, where):
    root = touch(tmp_path / 'images', 'with space.png', 'x.png')
    path = tmp_path / 'images/list.txt' if where == 'below' else tmp_path / 'other.txt'
    path.write_text('with space.png 3\nx.png\t0\n')
    name = 'list.txt' if where == 'below' else str(path)
    folder = ImageFolder(root, list_file=name)
    assert items(folder) == [('with space.png', 3), ('x.png', 0)]
    assert folder.metainfo['classes'] == ('0', '1', '2', '3')
    unlabelled = ImageFolder(root, list_file=name, labelled=False)
    assert items(unlabelled) == [('with space.png', -1), ('x.png', -1)]


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_lists_of_any_encoding(tmp_path, encoding, end):
    names = ['é.png', 'two  blanks.png', '\u00a0nbsp\u00a0in.png', '12 0.png']
    root = touch(tmp_path / 'images', *names)
    lines = [f'{names[0]} 0', f'{names[1]}\t1', f'{names[2]} \u00a02', f'  {names[3]}   3  ', '']
    (tmp_path / 'images/list.txt').write_bytes(end.join(lines).encode(encoding))
    expected = [(name, label) for label, name in enumerate(names)]
    assert items(ImageFolder(root, list_file='list.txt')) == expected
    (tmp_path / 'images/list.txt').write_bytes(end.join(names).encode(encoding))
    bare = ImageFolder(root, list_file='list.txt', labelled=False)
    assert [path for path, _ in items(bare)] == names


def test_bytes_of_a_list_are_those_of_the_files(tmp_path):
    """A list of old names, in Latin-1, of files that have just these names."""
    root = touch(tmp_path, 'plain.png', os.fsdecode(b'\xe9.png'))
    content = 'plain.png 0\né.png 1\n'.encode('latin-1')
    (tmp_path / 'list.txt').write_bytes(content)
    folder = ImageFolder(root, list_file='list.txt')
    assert items(folder)[1] == (os.fsdecode(b'\xe9.png'), 1)
    (tmp_path / os.fsdecode(b'\xe9.png')).rename(tmp_path / 'é.png')
    with pytest.raises(DataError) as error:
        ImageFolder(root, list_file='list.txt')
    assert str(error.value).startswith(f"{tmp_path}/list.txt:2: '\\udce9.png' is not UTF-8")
    assert str(error.value).endswith('save the list as UTF-8')


@pytest.mark.parametrize(
    ('lines', 'kwargs', 'message'),
    [
        ('', {}, 'list.txt: the list is empty'),
        ('x.png\n', {}, 'list.txt:1: expected `path label`, got'),
        ('x.png 0\nx.png -2\n', {}, 'list.txt:2: expected `path label`'),
        ('x.png 99999999\n', {}, 'list.txt:1: expected `path label`'),
        ('x.png 2\n', {'classes': ['a', 'b']}, 'x.png has label 2 of 2 classes'),
        ('x.png 0\ny.png 0\n', {}, '1 of the 2 files of .*list.txt do not exist below .*: y.png$'),
        ('a\\x.png 0\n', {}, r'a\\x.png; write its folders with /'),
        ('x.png 0\nx\0', {}, 'list.txt:2: a zero byte: no text'),
    ],
)
def test_wrong_lists(tmp_path, lines, kwargs, message):
    root = touch(tmp_path, 'x.png')
    (tmp_path / 'list.txt').write_text(lines)
    with pytest.raises(DataError, match=message) as error:
        ImageFolder(root, list_file='list.txt', **kwargs)
    assert '\n' not in str(error.value)


def test_all_files_of_a_list_must_exist(tmp_path):
    names = [f'{n % 3}/{n:02}.png' for n in range(40)]
    root = touch(tmp_path, *names, '0/other.png')
    absolute = f'{root}/0/other.png'
    (tmp_path / 'list.txt').write_text('\n'.join((*names, absolute, './1/04.png')))
    source = ImageFolder(root, list_file='list.txt', labelled=False)
    assert source.get_data_info(40)['img_path'] == absolute
    for name in names[5:17]:
        (tmp_path / name).unlink()
    (tmp_path / '0' / 'other.png').unlink()
    with pytest.raises(DataError) as error:
        ImageFolder(root, list_file='list.txt', labelled=False)
    assert str(error.value) == (
        f'13 of the 42 files of {root}/list.txt do not exist below {root}: '
        f'{", ".join(names[5:15])}, ...'
    )


def test_list_that_numbers_the_class_folders_otherwise(tmp_path):
    root = touch(tmp_path, 'train/a/1.png', 'train/b/2.png', 'elsewhere.png')
    path = tmp_path / 'meta/train.txt'
    path.parent.mkdir()
    path.write_text('a/1.png 1\nb/2.png 0\n')
    message = r'train.txt: a/1.png has label 1, .* class 0; '
    with pytest.raises(DataError, match=message):
        ImageFolder(root, 'train')
    folder = ImageFolder(root, 'train', classes=['b', 'a'])
    assert items(folder) == [('a/1.png', 1), ('b/2.png', 0)]


def test_labels_at_once(tree):
    folder = ImageFolder(str(tree), 'train')
    assert folder.get_gt_labels().tolist() == [label for _, label in items(folder)]


@pytest.mark.parametrize(
    ('paths', 'kwargs', 'message'),
    [
        ((), {'split': 'train'}, 'root/train: no such folder'),
        ((), {}, 'root: no class folders; '),
        (('1.png', '2.png'), {}, 'no class folders.*labelled=False'),
        ((), {'labelled': False}, 'root: no images; .*.jpg'),
        (('a/notes.txt',), {}, 'root: no images; .*.jpg'),
        (('a/1.png',), {'classes': ['b']}, 'root: no images'),
        (('a/1.png',), {'list_file': 'none.txt'}, 'none.txt: no such list file'),
    ],
)
def test_wrong_folders(tmp_path, paths, kwargs, message):
    (tmp_path / 'root').mkdir()
    root = str(tmp_path / 'root')
    touch(tmp_path / 'root', *paths)
    with pytest.raises(DataError, match=message) as error:
        ImageFolder(root, **kwargs)
    assert '\n' not in str(error.value)


def test_a_link_to_itself_is_a_bad_image_among_good_ones(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/good.png').touch()
    for name in ('loop.png', 'loop'):  # the second is called no image: it is none
        os.symlink(name, tmp_path / 'a' / name)
    folder = ImageFolder(str(tmp_path), index_cache=False)
    paths = [folder.get_data_info(index)['img_path'] for index in range(len(folder))]
    assert [os.path.basename(path) for path in paths] == ['good.png', 'loop.png']


@pytest.mark.parametrize(
    ('labelled', 'cure'), [(True, r"set split='' and labelled=False,"), (False, r"set split='',")]
)
def test_a_split_of_a_folder_of_plain_images(tmp_path, labelled, cure):
    root = touch(tmp_path, 'a.jpg', 'b.jpg')
    message = rf'^{root}/train: no such folder; {root} .*; {cure} '
    with pytest.raises(DataError, match=message):
        ImageFolder(root, 'train', labelled=labelled)


@pytest.fixture
def told(monkeypatch):
    """The lines that are logged."""
    lines = []
    monkeypatch.setattr(folder, 'print_log', lambda line, *_: lines.append(line))
    return lines


@pytest.mark.parametrize('index_cache', [True, False])
def test_splits_taken_for_classes_are_told(tmp_path, told, index_cache):
    root = touch(tmp_path, 'train/a/1.jpg', 'Valid/a/2.jpg')
    ImageFolder(root, index_cache=index_cache)
    assert told == [
        f"{root}: 'train' and 'valid' are taken for two classes of images; if they are splits, "
        "set split='train'"
    ]
    told.clear()
    ImageFolder(root, labelled=False, index_cache=index_cache)
    ImageFolder(root, classes=['train', 'Valid'], index_cache=index_cache)
    touch(tmp_path / 'traffic', 'bus/1.jpg', 'train/2.jpg')
    ImageFolder(str(tmp_path / 'traffic'), index_cache=index_cache)
    assert told == []


def test_a_shipped_list_numbers_the_classes(tmp_path):
    wnids = class_list('imagenet')
    root = touch(tmp_path, 'README.txt', *(f'{wnids[n]}/{n}.JPEG' for n in (999, 6, 11)))
    source = ImageFolder(root, classes='imagenet')
    assert [label for _, label in items(source)] == [6, 11, 999]
    assert source.metainfo['classes'] == wnids
    with pytest.raises(ConfigError, match="'imagnet' is no list of classes; did you mean imagenet"):
        ImageFolder(root, classes='imagnet')


def test_folders_of_imagenet_v2(tmp_path):
    root = touch(tmp_path, *(f'{n}/{n}.jpeg' for n in range(1000)))
    cure = r"sorted as text would be numbered 0, 1, 10, \.\.\.; set classes='imagenet-v2'$"
    with pytest.raises(DataError, match=cure):
        ImageFolder(root)
    with pytest.raises(
        DataError, match=r"no images of the 1000 `classes` .*; set classes='imagenet-v2'$"
    ):
        ImageFolder(root, classes='imagenet')
    found = items(ImageFolder(root, classes='imagenet-v2'))
    assert found == [(f'{n}/{n}.jpeg', n) for n in range(1000)]


@pytest.mark.parametrize('split', ['', 'val'])
def test_other_numbers_as_class_folders(tmp_path, split):
    names = [f'{start}{n}/x.png' for n in range(12) for start in ('train/', 'val/')]
    root = touch(tmp_path, *names)
    with pytest.raises(DataError, match=r'set classes=\[str\(n\) for n in range\(12\)\]$'):
        ImageFolder(root, split) if split else ImageFolder(f'{root}/val')
    source = ImageFolder(root, 'val', classes=[str(n) for n in range(12)])
    assert items(source)[2] == ('2/x.png', 2)
    touch(tmp_path / 'padded', *(f'{n:02}/x.png' for n in range(12)))
    assert items(ImageFolder(str(tmp_path / 'padded')))[2] == ('02/x.png', 2)


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        (
            {*range(1000)} - {7},
            r"numbers 0\.\.999 without 7, which .*; set classes='imagenet-v2'$",
        ),
        ({*range(12)} - {4, 0}, r'0\.\.11 without 0, 4, .*set classes=\[str\(n\) .*range\(12\)\]$'),
        ({998, 1998, 2998}, None),  # years and such: names
        ({9, 10}, None),
    ],
)
def test_numbers_of_which_some_are_missing(tmp_path, numbers, message):
    root = touch(tmp_path, *(f'{n}/x.png' for n in numbers))
    if message is None:
        assert ImageFolder(root).metainfo['classes'] == tuple(sorted(map(str, numbers)))
        return
    with pytest.raises(DataError, match=message):
        ImageFolder(root)
    source = ImageFolder(root, classes=[str(n) for n in range(max(numbers) + 1)])
    assert {label for _, label in items(source)} == numbers


def test_file_numbers(tmp_path):
    root = touch(tmp_path, 'n01/ILSVRC2012_val_00000293.JPEG', 'n01/x.png', 'n02/3_b7c.png')
    source = ImageFolder(root, file_numbers=True)
    assert [source.get_data_info(n)['file_number'] for n in (0, 2)] == [293, 7]
    with pytest.raises(DataError, match=r'x\.png: there is no number in its name'):
        source.get_data_info(1)
