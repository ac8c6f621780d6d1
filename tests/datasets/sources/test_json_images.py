import copy
import json

import numpy as np
import pytest
from PIL import Image

from mae.datasets import JsonImages, Subset
from mae.utils.errors import DataError

NAMES = ['train_val2018/Aves/2/a.jpg', 'train_val2018/Fungi/0/b.jpg', 'train_val2018/Aves/1/c.jpg']
CONTENT = {
    'info': {'year': 2018},
    'images': [{'id': 40 - n, 'file_name': name, 'width': 8} for n, name in enumerate(NAMES)],
    'annotations': [
        {'id': 0, 'image_id': 38, 'category_id': 1},
        {'id': 1, 'image_id': 40, 'category_id': 2},
        {'id': 2, 'image_id': 39, 'category_id': 0},
    ],
    # iNaturalist's files list them in order; nothing says that they must.
    'categories': [
        {'id': 2, 'name': 'Turdus merula', 'supercategory': 'Aves'},
        {'id': 0, 'name': 'Amanita muscaria', 'supercategory': 'Fungi'},
        {'id': 1, 'name': 'Oenanthe oenanthe', 'supercategory': 'Aves'},
    ],
}


@pytest.fixture
def root(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    return tmp_path


def write(root, content):
    (root / 'train2018.json').write_text(json.dumps(content))
    return str(root), 'train2018.json'


def test_paths_and_labels_in_the_order_of_the_images(root):
    source = JsonImages(*write(root, CONTENT))
    assert source.metainfo == {
        'classes': ('Amanita muscaria', 'Oenanthe oenanthe', 'Turdus merula')
    }
    infos = [source.get_data_info(index) for index in range(len(source))]
    assert infos == [
        {'img_path': f'{root}/{name}', 'gt_label': label}
        for name, label in zip(NAMES, (2, 0, 1), strict=True)
    ]
    assert source.get_gt_labels().tolist() == [2, 0, 1]
    assert source.get_data_info(-1) == infos[-1]
    with pytest.raises(IndexError):
        source.get_data_info(3)
    assert len(Subset(source, per_class=1)) == 3


def test_ids_from_one_and_names_that_repeat(root):
    content = copy.deepcopy(CONTENT)
    for row in content['categories']:
        row['id'] += 1
        row['name'] = 'Oenanthe' if row['id'] > 1 else row['name']
    for row in content['annotations']:
        row['category_id'] += 1
    source = JsonImages(*write(root, content))
    assert source.get_gt_labels().tolist() == [2, 0, 1]
    assert source.metainfo['classes'] == ('Amanita muscaria', 'Oenanthe [2]', 'Oenanthe [3]')


def test_a_class_of_which_there_is_no_image_keeps_its_number(root):
    content = copy.deepcopy(CONTENT)
    content['images'], content['annotations'] = content['images'][:1], content['annotations'][1:2]
    source = JsonImages(*write(root, content))
    assert source.get_gt_labels().tolist() == [2]
    assert len(source.metainfo['classes']) == 3


def test_images_alone(root):
    content = {'images': CONTENT['images'], 'annotations': []}
    source = JsonImages(*write(root, content), labelled=False)
    assert source.get_gt_labels().tolist() == [-1] * 3
    assert source.metainfo == {'classes': ()}


def test_a_file_elsewhere(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('annotations')
    write(folder, CONTENT)
    assert len(JsonImages(str(root), str(folder / 'train2018.json'))) == 3


def change(path, value):
    def changed(content):
        node = content
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return changed


def drop(*path):
    def changed(content):
        node = content
        for key in path[:-1]:
            node = node[key]
        del node[path[-1]]

    return changed


@pytest.mark.parametrize(
    ('mistake', 'message'),
    [
        (change(['images', 1, 'id'], 40), '`images` repeat id 40'),
        (change(['images', 1, 'file_name'], NAMES[0]), f'`images` name {NAMES[0]} twice'),
        (
            change(['annotations', 0, 'image_id'], 40),
            '1 image has more than one annotation, the first .*a.jpg',
        ),
        (
            drop('annotations', 2),
            '1 image has no annotation, the first .*b.jpg; give labelled=False',
        ),
        (change(['annotations', 0, 'image_id'], 7), '1 annotation of images .* of id 7'),
        (change(['annotations', 0, 'category_id'], 3), 'annotations? of categories .* of id 3'),
        (change(['annotations', 0, 'category_id'], -1), 'annotations? of categories .* of id -1'),
        (change(['categories', 0, 'id'], 3), 'leave holes, the first after 1'),
        (change(['categories', 0, 'id'], 1), '`categories` repeat id 1'),
        (change(['categories'], []), '`categories` is empty'),
        (drop('categories'), 'no list `categories`'),
        (change(['images'], {}), 'no list `images`'),
        (change(['images'], []), '`images` is empty'),
        (drop('images', 1, 'id'), "entry 1 of `images` has no 'id'"),
        (drop('annotations', 0, 'category_id'), "entry 0 of `annotations` has no 'category_id'"),
        (change(['images', 1], 'b.jpg'), "entry 1 of `images` has no 'file_name'"),
        (change(['images', 2, 'id'], '7'), "'id' of entry 2 of `images` must be a whole number"),
        (change(['images', 2, 'id'], True), 'must be a whole number, got True'),
        (change(['images', 2, 'id'], 1 << 70), 'beyond 64 bits'),
        (change(['images', 2, 'file_name'], None), 'must be a text, got None'),
        (change(['images', 2, 'file_name'], '\ud800'), 'no file can have'),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(root, mistake, message):
    content = copy.deepcopy(CONTENT)
    mistake(content)
    with pytest.raises(DataError, match=message) as caught:
        JsonImages(*write(root, content))
    assert str(caught.value).startswith(f'{root}/train2018.json: ')
    assert '\n' not in str(caught.value)


def test_no_json_no_file_no_folder_no_image(root):
    (root / 'cut.json').write_text('{"images": [')
    with pytest.raises(DataError, match=r'cut\.json: cannot be read as JSON'):
        JsonImages(str(root), 'cut.json')
    (root / 'list.json').write_text('[]')
    with pytest.raises(DataError, match='expected a JSON object with images'):
        JsonImages(str(root), 'list.json')
    with pytest.raises(DataError, match=r'no\.json: no such file'):
        JsonImages(str(root), 'no.json')
    with pytest.raises(DataError, match='no such folder; expected the images of'):
        JsonImages(str(root / 'nothing'), 'train2018.json')
    arguments = write(root, CONTENT)
    (root / NAMES[0]).unlink()
    with pytest.raises(
        DataError, match=r'1 of the 3 files of .*2018.json do not exist below .*: train_val'
    ):
        JsonImages(*arguments)


def test_many_images_are_kept_in_an_index(root, monkeypatch, tmp_path_factory):
    monkeypatch.setenv('MAE_HOME', str(tmp_path_factory.mktemp('home')))
    monkeypatch.setattr('mae.datasets.sources.index_cache.WORTH_KEEPING', 2)
    monkeypatch.setattr('mae.datasets.sources.index_cache.SETTLING_SECONDS', -1000.0)
    arguments = write(root, CONTENT)
    first = JsonImages(*arguments)

    def refuse(*_):
        raise AssertionError('read again')

    with monkeypatch.context() as patch:
        patch.setattr('mae.datasets.sources.json_images.read_annotations', refuse)
        again = JsonImages(*arguments)
    assert np.array_equal(again.get_gt_labels(), first.get_gt_labels())
    assert again.metainfo == first.metainfo
    content = copy.deepcopy(CONTENT)
    content['annotations'][0]['category_id'] = 2
    assert JsonImages(*write(root, content)).get_gt_labels().tolist() == [2, 0, 2]
