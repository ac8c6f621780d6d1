import importlib.util
import io
import os
import pickle
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mae.datasets import ImageFolder, PackedImages, SeededDataset, packing, verify
from mae.datasets.packing import Packing, pack
from mae.datasets.quarantine import Quarantined
from mae.datasets.sources.array_file import write_arrays
from mae.datasets.transforms import DecodeImage
from mae.utils.errors import DataError


def contents(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(os.path.relpath(i['img_path'], dataset.folder), i['gt_label']) for i in infos]


def original(source, index):
    return Path(source.get_data_info(index)['img_path']).read_bytes()


@pytest.fixture(scope='module')
def source(tree):
    return ImageFolder(str(tree), 'train', index_cache=False)


@pytest.fixture
def packed(source, tmp_path):
    pack(source, tmp_path / 'packed', Packing(100, 90, 7))
    return PackedImages(str(tmp_path), 'packed')


def test_same_images_names_and_labels(source, packed):
    assert contents(packed) == contents(source)
    assert packed.metainfo == source.metainfo
    assert packed.get_gt_labels().tolist() == source.get_gt_labels().tolist()
    names = sorted(path.name for path in Path(packed.folder).iterdir())
    assert names == [*(f'data-{n:05d}.bin' for n in range(4)), 'index.idx']
    assert packed.get_data_info(-1) == packed.get_data_info(23)
    with pytest.raises(IndexError):
        packed.get_data_info(24)


def test_short_side_and_bytes_of_small_images(source, packed):
    decode, kept = DecodeImage(), 0
    for index in range(len(source)):
        info = packed.get_data_info(index)
        before = decode(source.get_data_info(index))['img']
        after = decode(dict(info))['img']
        if min(before.shape[1:]) <= 100:
            kept += 1
            assert info['img_bytes'] == original(source, index)
        else:
            assert min(after.shape[1:]) == 100
            expected = torch.nn.functional.interpolate(
                before[None], after.shape[1:], mode='bicubic', antialias=True
            )[0]
            assert (after.float() - expected.float()).abs().mean() < 8
    assert 0 < kept < len(source)


def test_keep_copies_all_bytes(source, tmp_path):
    pack(source, tmp_path / 'kept', Packing(None))
    kept = PackedImages(str(tmp_path / 'kept'))
    for index in range(len(source)):
        assert kept.get_data_info(index)['img_bytes'] == original(source, index)
        kept.check(index)


def samples(source, channels=3, *first):
    """What training gets of each image, at two draws of the crop."""
    decode = {'type': 'DecodeImage', 'channels': channels}
    crop = {'type': 'DecodeRandomResizedCrop', 'size': 24, 'decode': decode}
    steps = [decode, *first] if first else []
    dataset = SeededDataset(source, [*steps, crop, {'type': 'PackInputs'}])
    return [dataset[index, key] for index in range(len(source)) for key in (3, 8)]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.pop('inputs'), other.pop('inputs'))
        assert one == other


def test_pixels_give_the_samples_of_the_files(source, tmp_path):
    pack(source, tmp_path / 'kept', Packing(None, per_shard=7, pixels=True))
    kept = PackedImages(str(tmp_path / 'kept'))
    assert contents(kept) == contents(source)
    for channels in (3, 1):
        assert_same(samples(kept, channels), samples(source, channels))
    info = kept.get_data_info(5)
    image = np.load(io.BytesIO(info['img_bytes']))
    assert (image.dtype, image.shape[2]) == (np.uint8, 3)
    assert np.array_equal(image, DecodeImage()(dict(info))['img'].permute(1, 2, 0))


def test_pixels_of_a_short_side_are_those_resized(source, tmp_path):
    pack(source, tmp_path / 'small', Packing(60, pixels=True), workers=1)
    small = PackedImages(str(tmp_path / 'small'))
    sizes = [DecodeImage()(small.get_data_info(index))['img'].shape for index in range(len(small))]
    assert {min(size[1:]) for size in sizes} == {60}
    assert_same(samples(small), samples(source, 3, {'type': 'ResizeShort', 'size': 60}))


def test_changed_pixels_are_found_though_they_are_an_image(source, tmp_path):
    pack(source, tmp_path / 'p', Packing(30, pixels=True))
    shard = tmp_path / 'p/data-00000.bin'
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    packed = PackedImages(str(tmp_path / 'p'))
    dataset = SeededDataset(packed, [{'type': 'DecodeImage'}, {'type': 'PackInputs'}])
    reasons = [checked.reason for checked in verify(dataset)]
    assert reasons[:-1] == [None] * 23
    assert reasons[-1] == 'damaged: its checksum is another'
    assert dataset[23]['inputs'].shape[0] == 3  # no checksum is computed in training


def test_work_of_an_older_version_goes_on_unless_it_keeps_pixels(source, tmp_path):
    part = tmp_path / 'p.part'
    part.mkdir()
    older = {'images': 24, 'source': os.path.realpath(source.folder)}
    write_arrays(part / 'job.idx', {**older, 'short_side': 30, 'quality': 90, 'per_shard': 7}, {})
    with pytest.raises(DataError, match=r'begun with pixels=None, not True; remove it'):
        pack(source, tmp_path / 'p', Packing(30, per_shard=7, pixels=True))
    pack(source, tmp_path / 'p', Packing(30, per_shard=7))


def test_an_interrupted_run_goes_on(source, tmp_path, monkeypatch):
    shard, written = packing._pack_shard, []

    def failing(source, part, how, number):
        if number == 2 and not written[2:]:
            written.append('fails')
            raise KeyboardInterrupt
        written.append(number)
        return shard(source, part, how, number)

    monkeypatch.setattr(packing, '_pack_shard', failing)
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / 'p', Packing(None, per_shard=7))
    assert not (tmp_path / 'p').exists()
    with pytest.raises(DataError, match=r'begun with per_shard=7, not 8; remove it'):
        pack(source, tmp_path / 'p', Packing(None, per_shard=8))
    told = []
    how = Packing(None, per_shard=7)
    pack(source, tmp_path / 'p', how, progress=lambda *numbers: told.append(numbers))
    assert written == [0, 1, 'fails', 2, 3]
    assert told == [(14, 24), (21, 24), (24, 24)]
    assert contents(PackedImages(str(tmp_path / 'p'))) == contents(source)
    assert not (tmp_path / 'p.part').exists()
    with pytest.raises(DataError, match='exists already'):
        pack(source, tmp_path / 'p', how)


@pytest.mark.parametrize('place', ['packed', 'n01/packed', 'n01/../new/packed'])
@pytest.mark.parametrize('linked', [False, True])
def test_a_place_among_the_images_is_refused(tree, tmp_path, place, linked):
    root = tmp_path / 'photos'
    shutil.copytree(tree / 'val', root)
    before = sorted(root.rglob('*'))
    (tmp_path / 'link').symlink_to(root)
    target = (tmp_path / 'link' if linked else root) / place
    with pytest.raises(DataError, match=r'^\S+ lies within \S+photos, where .* a place outside$'):
        pack(ImageFolder(str(root), index_cache=False), target, Packing(None))
    assert sorted(root.rglob('*')) == before


def test_a_place_beside_the_images_is_none_among_them(tree, tmp_path):
    root = tmp_path / 'photos'
    shutil.copytree(tree / 'val', root)
    pack(ImageFolder(str(root)), root / '../photos-packed', Packing(None))
    assert len(PackedImages(str(tmp_path / 'photos-packed'))) == 6


class Killed:
    """A source that ends the process that reads one of its images, as lack of memory does."""

    def __init__(self, source, at):
        self.source, self.at, self.folder = source, at, source.folder
        self.metainfo, self.get_gt_labels = source.metainfo, source.get_gt_labels

    def __len__(self):
        return len(self.source)

    def get_data_info(self, index):
        if index == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.source.get_data_info(index)


def test_a_killed_process_costs_its_shards(source, tmp_path):
    how = Packing(None, per_shard=7)
    with pytest.raises(DataError, match=r'ended by the system, .* fewer workers'):
        pack(Killed(source, 16), tmp_path / 'p', how, workers=2)
    left = [path for path in (tmp_path / 'p.part').iterdir() if path.suffix == '.tmp']
    assert left  # what the killed one wrote
    pack(source, tmp_path / 'p', how)
    assert contents(PackedImages(str(tmp_path / 'p'))) == contents(source)
    names = sorted(path.name for path in (tmp_path / 'p').iterdir())
    assert names == [*(f'data-{n:05d}.bin' for n in range(4)), 'index.idx']


@pytest.mark.parametrize('labelled', [True, False])
def test_images_that_changed_meanwhile(tree, tmp_path, monkeypatch, labelled):
    root = tmp_path / 'photos'
    shutil.copytree(tree / 'val', root)
    how = Packing(None, per_shard=2)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, '_join', interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(ImageFolder(str(root)), tmp_path / 'p', how)
    if labelled:  # as many images, of which one has another name
        first = Path(ImageFolder(str(root)).get_data_info(0)['img_path'])
        first.rename(first.with_name(f'zzz{first.suffix}'))
    with pytest.raises(DataError, match=r'photos has changed .*; remove '):
        pack(ImageFolder(str(root), labelled=labelled), tmp_path / 'p', how)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path, photo):
    root = tmp_path / 'photos'
    (root / 'a').mkdir(parents=True)
    photo.save(root / 'a/1.jpg')
    (root / 'a/2.jpg').write_bytes(b'none')
    with pytest.raises(DataError, match=r'a/2.jpg: cannot be decoded'):
        pack(ImageFolder(str(root)), tmp_path / 'packed', Packing())
    assert not (tmp_path / 'packed').exists()


def test_what_is_in_quarantine_is_left_out(tmp_path, photo):
    root = tmp_path / 'photos'
    for name in ('a/1.jpg', 'b/1.jpg', 'b/2.jpg'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(root / name)
    (root / 'b/1.jpg').write_bytes(b'none')
    source = ImageFolder(str(root))
    with pytest.raises(DataError, match=r'b/1.jpg: .*; tools/data/verify.py --out FILE lists all '):
        pack(source, tmp_path / 'packed', Packing())
    (tmp_path / 'list.txt').write_text('b/1.jpg\n')
    left = Quarantined(source, tmp_path / 'list.txt')
    with pytest.raises(DataError, match=r'packed\.part: begun with images=3, not 2; remove it'):
        pack(left, tmp_path / 'packed', Packing())
    part = tmp_path / 'others.part'
    part.mkdir()
    packing._claim(part, {'images': 2, 'left_out': [1]})
    with pytest.raises(DataError, match=r'others\.part: begun with left_out=\[1\], not None; '):
        packing._claim(part, {'images': 2})
    shutil.rmtree(part)
    pack(pickle.loads(pickle.dumps(left)), tmp_path / 'others', Packing())  # noqa: S301
    assert contents(PackedImages(str(tmp_path / 'others'))) == [('a/1.jpg', 0), ('b/2.jpg', 1)]
    with pytest.raises(DataError, match='lies within'):
        pack(left, root / 'packed', Packing())


def test_damage_is_named(packed, source):
    shard, index = Path(packed.folder, 'data-00001.bin'), Path(packed.folder, 'index.idx')
    content = shard.read_bytes()
    shard.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    changed = PackedImages(packed.folder)
    with pytest.raises(DataError, match='damaged: its checksum is another'):
        changed.check(7)
    shard.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r'data-00001\.bin: \d+ bytes instead of \d+'):
        PackedImages(packed.folder)
    shard.unlink()
    with pytest.raises(DataError, match=r'data-00001.bin: No such file'):
        PackedImages(packed.folder)
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(DataError, match=r'index.idx: cut short'):
        PackedImages(packed.folder)
    with pytest.raises(DataError, match=r'expected a folder written by tools/data/pack.py'):
        PackedImages(source.folder)


def test_workers_open_the_files_themselves(packed):
    packed.get_data_info(0)
    again = pickle.loads(pickle.dumps(packed))  # noqa: S301  (our own)
    assert again.get_data_info(20) == packed.get_data_info(20)


def test_tool(tree, tmp_path, capsys):
    path = Path(__file__).parents[2] / 'tools/data/pack.py'
    spec = importlib.util.spec_from_file_location('pack_tool', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main([str(tree / 'val'), str(tmp_path / 'x'), '--short-side', '64', '--quality', '80'])
    assert '6 images packed' in capsys.readouterr().out
    packed = PackedImages(str(tmp_path / 'x'))
    shapes = [DecodeImage()(packed.get_data_info(i))['img'].shape for i in range(6)]
    assert {min(shape[1:]) for shape in shapes} == {64}
    tool.main([str(tree / 'val'), str(tmp_path / 'y'), '--short-side', '64', '--pixels'])
    assert PackedImages(str(tmp_path / 'y')).get_data_info(0)['img_bytes'].startswith(b'\x93NUMPY')
    for slip in (['0'], ['80', '--pixels'], ['80', '--keep']):
        with pytest.raises(SystemExit):
            tool.main([str(tree), 'x', '--quality', *slip])
    with pytest.raises(SystemExit):
        tool.main([str(tree), 'x', '--short-side', '64', '--keep'])
    (tmp_path / 'a.parquet').write_bytes(b'')
    with pytest.raises(ValueError, match='--list-file is for folders of images'):
        tool.main([str(tmp_path), str(tmp_path / 'z'), '--list-file', 'train.txt'])


def test_an_index_of_another_version(packed):
    write_arrays(Path(packed.folder, 'index.idx'), {'format': 'mae packed images 2'}, {})
    with pytest.raises(DataError, match=r"of 'mae packed images 2', not '.* 1': pack again"):
        PackedImages(packed.folder)


@pytest.mark.parametrize('short_side', [None, 30])
def test_a_file_that_is_none_is_named(tmp_path, short_side):
    """As in training: opening a pipe would wait for ever."""
    (tmp_path / 'photos/g').mkdir(parents=True)
    os.mkfifo(tmp_path / 'photos/g/1.jpg')
    with pytest.raises(DataError, match=r'g/1\.jpg: cannot be decoded.*not a regular file'):
        pack(ImageFolder(str(tmp_path / 'photos')), tmp_path / 'p', Packing(short_side))


def test_grey_and_turned_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(np.tile(np.arange(120, dtype=np.uint8), (60, 1)))
    (tmp_path / 'photos/g').mkdir(parents=True)
    grey.save(tmp_path / 'photos/g/1.jpg', exif=exif)
    pack(ImageFolder(str(tmp_path / 'photos')), tmp_path / 'p', Packing(30))
    assert DecodeImage()(PackedImages(str(tmp_path / 'p')).get_data_info(0))['img'].shape == (
        3,
        60,
        30,
    )
