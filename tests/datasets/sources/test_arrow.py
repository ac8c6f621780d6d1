import json
import pickle
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mae.datasets import ArrowImages, ImageFolder, PackedImages, SeededDataset
from mae.datasets.packing import Packing, pack
from mae.utils.errors import ConfigError, DataError

NOTED = {'info': {'features': {'label': {'names': ['n01', 'n02', 'n03'], '_type': 'ClassLabel'}}}}
PIPELINE = [
    dict(type='DecodeImage'),
    dict(type='RandomResizedCrop', size=32),
    dict(type='RandomFlip'),
    dict(type='PackInputs'),
]


@pytest.fixture(scope='module')
def folder(tree):
    return ImageFolder(str(tree), 'train', index_cache=False)


@pytest.fixture(scope='module')
def table(folder):
    """As `datasets` lays images out: a struct of bytes and path, and numbers of classes."""
    infos = [folder.get_data_info(i) for i in range(len(folder))]
    rows = [{'bytes': Path(i['img_path']).read_bytes(), 'path': i['img_path']} for i in infos]
    image = pa.array(rows, pa.struct({'bytes': pa.binary(), 'path': pa.string()}))
    label = pa.array([i['gt_label'] for i in infos], pa.int64())
    found = pa.table({'image': image, 'label': label})
    return found.replace_schema_metadata({'huggingface': json.dumps(NOTED)})


def write(table, root, kind):
    """Two files of several parts each."""
    halves = [table.slice(0, 10), table.slice(10)]
    (root / 'data').mkdir()
    for number, half in enumerate(halves):
        path = root / f'data/train-{number:05d}-of-00002.{kind.split()[0]}'
        if kind == 'parquet':
            pq.write_table(half, path, row_group_size=4)
            continue
        new = pa.ipc.new_stream if kind == 'arrow stream' else pa.ipc.new_file
        with pa.OSFile(str(path), 'wb') as sink, new(sink, table.schema) as writer:
            writer.write_table(half, max_chunksize=4)
    return str(root)


KINDS = ['parquet', 'arrow stream', 'arrow file']


@pytest.mark.parametrize('kind', KINDS)
def test_bytes_labels_and_classes(tmp_path, table, folder, kind):
    dataset = ArrowImages(write(table, tmp_path, kind), 'train')
    assert len(dataset) == 24
    assert dataset.metainfo == folder.metainfo
    assert dataset.get_gt_labels().tolist() == folder.get_gt_labels().tolist()
    for index in (*range(24), 3, 17, -1):  # parts are dropped and read again on the way
        info, expected = dataset.get_data_info(index), folder.get_data_info(index)
        assert info['img_bytes'] == Path(expected['img_path']).read_bytes()
        assert info['gt_label'] == expected['gt_label']
    with pytest.raises(IndexError):
        dataset.get_data_info(24)


@pytest.mark.parametrize('kind', KINDS)
def test_samples_are_those_of_the_folder(tmp_path, table, folder, kind):
    source = ArrowImages(write(table, tmp_path, kind))
    requests = [(5, 77), (23, 1), (0, 2**62)]
    theirs = SeededDataset(folder, PIPELINE).__getitems__(requests)
    for again in (source, pickle.loads(pickle.dumps(source))):  # noqa: S301  (our own)
        for ours, expected in zip(
            SeededDataset(again, PIPELINE).__getitems__(requests), theirs, strict=True
        ):
            assert torch.equal(ours.pop('inputs'), expected['inputs'])
            assert ours == {name: expected[name] for name in ours}


def test_packed_without_a_loss(tmp_path, table, folder):
    pack(ArrowImages(write(table, tmp_path, 'parquet')), tmp_path / 'packed', Packing(None))
    packed = PackedImages(str(tmp_path / 'packed'))
    assert packed.metainfo == folder.metainfo
    for index in range(24):
        content = Path(folder.get_data_info(index)['img_path']).read_bytes()
        assert packed.get_data_info(index)['img_bytes'] == content


def test_large_row_groups_are_warned_of(tmp_path, table):
    pq.write_table(table, tmp_path / 'train.parquet')
    with pytest.warns(UserWarning, match=r'row group .* 24 images; pack'):
        ArrowImages(str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(ArrowImages(str(tmp_path), 'train', in_order=True)) == 24


def test_without_labels_and_with_bytes_alone(tmp_path, table):
    image = table['image'].combine_chunks().field('bytes')
    pq.write_table(pa.table({'jpg': image}), tmp_path / 'x.parquet', row_group_size=8)
    dataset = ArrowImages(str(tmp_path), image='jpg', label=None)
    assert dataset.get_data_info(20)['img_bytes'] == image[20].as_py()
    assert dataset.get_data_info(20)['gt_label'] == -1
    assert dataset.metainfo == {'classes': ()}


def test_what_datasets_saves(tmp_path, table, folder):
    datasets = pytest.importorskip('datasets')
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=['n01', 'n02', 'n03'])
    )
    saved = datasets.Dataset(table.replace_schema_metadata(None)).cast(features)
    saved.save_to_disk(str(tmp_path / 'saved/train'))
    dataset = ArrowImages(str(tmp_path / 'saved'), 'train')
    assert dataset.metainfo == folder.metainfo
    assert dataset.get_data_info(9)['img_bytes'] == table['image'][9].as_py()['bytes']


def broken(root):
    (root / 'train.parquet').write_bytes(b'PAR1 and no more')


def paths_only(root):
    image = pa.array([{'bytes': None, 'path': 'a.jpg'}])
    pq.write_table(pa.table({'image': image, 'label': [0]}), root / 'train.parquet')


MISTAKES = {
    'none': (lambda root: None, 'no .arrow or .parquet files'),
    'broken': (broken, r'train.parquet: not a parquet file that can be read'),
    'columns': (
        lambda root: pq.write_table(pa.table({'x': [1]}), root / 'train.parquet'),
        r"no column 'image' among x",
    ),
    'numbers': (
        lambda root: pq.write_table(pa.table({'image': [1], 'label': [1]}), root / 'a.parquet'),
        r"a.parquet: column 'image' holds int64, not bytes",
    ),
    'names': (
        lambda root: pq.write_table(
            pa.table({'image': [b''], 'label': ['cat']}), root / 'a.parquet'
        ),
        r"column 'label' holds string, not numbers",
    ),
    'no bytes': (paths_only, r"column 'image' holds struct<bytes: null, .*>, not bytes"),
    'struct of something else': (
        lambda root: write_column(root, 'image', pa.array([{'path': 'a.jpg'}])),
        r"column 'image' holds struct<path: string>, not bytes",
    ),
    **{
        f'label {number}': (
            lambda root, number=number, kind=kind: write_column(
                root, 'label', pa.array([number], kind)
            ),
            rf"a.parquet: column 'label' holds {number}\.\.{number}: labels count classes from 0",
        )
        for number, kind in ((2**40, pa.int64()), (2**64 - 1, pa.uint64()), (-2, pa.int8()))
    },
}


def write_column(root, name, column):
    table = {'image': pa.array([b'']), 'label': pa.array([0]), name: column}
    pq.write_table(pa.table(table), root / 'a.parquet')


@pytest.mark.parametrize('mistake', MISTAKES)
def test_other_tables(tmp_path, mistake):
    make, message = MISTAKES[mistake]
    make(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        ArrowImages(str(tmp_path)).get_data_info(0)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('suffix', ['parquet', 'arrow'])
def test_a_table_of_the_wrong_kind_is_told_of_at_the_start(tmp_path, suffix):
    table = pa.table({'image': pa.array(['a.jpg']), 'label': [0]})
    if suffix == 'parquet':
        pq.write_table(table, tmp_path / 'a.parquet')
    else:
        with (
            pa.OSFile(str(tmp_path / 'a.arrow'), 'wb') as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table)
    with pytest.raises(DataError, match=r"column 'image' holds string"):
        ArrowImages(str(tmp_path))


@pytest.mark.parametrize('kind', [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_bytes_of_every_kind(tmp_path, kind):
    pq.write_table(pa.table({'image': pa.array([b'0', b'1'], kind)}), tmp_path / 'a.parquet')
    dataset = ArrowImages(str(tmp_path), label=None)
    assert dataset.get_data_info(1)['img_bytes'] == b'1'


@pytest.mark.parametrize(
    'note', ['none', '[1]', '{"info": {"features": {"label": 3}}}', json.dumps({'info': None})]
)
def test_a_note_of_somebody_else(tmp_path, table, note):
    noted = table.replace_schema_metadata({'huggingface': note})
    pq.write_table(noted, tmp_path / 'a.parquet', row_group_size=8)
    assert ArrowImages(str(tmp_path)).metainfo == {'classes': ('0', '1', '2')}


def test_labels_that_are_missing(tmp_path):
    label = pa.array([2, None], pa.uint8())
    pq.write_table(pa.table({'image': [b'0', b'1'], 'label': label}), tmp_path / 'a.parquet')
    assert ArrowImages(str(tmp_path)).get_gt_labels().tolist() == [2, -1]


def test_a_damaged_row_group_is_named(tmp_path, table):
    path = tmp_path / 'a.parquet'
    pq.write_table(table, path, row_group_size=8, use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start, size = column.data_page_offset, column.total_compressed_size
    content = path.read_bytes()
    path.write_bytes(content[:start] + b'\xff' * size + content[start + size :])
    dataset = ArrowImages(str(tmp_path))
    assert dataset.get_data_info(0)['img_bytes'] == table['image'][0].as_py()['bytes']
    with pytest.raises(DataError, match=r'a\.parquet: row group 1 .*: .+'):
        dataset.get_data_info(8)


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
    with pytest.raises(ConfigError, match='ArrowImages needs pyarrow: pip install pyarrow'):
        ArrowImages(str(tmp_path))
