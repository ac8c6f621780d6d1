"""`tools/data/crop_photos.py`: what it cuts, from where, and what it refuses."""

import io
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mae.apis.cli import run_command
from mae.datasets import ImageFolder

TOOL = Path(__file__).resolve().parents[2] / 'tools/data/crop_photos.py'
SMALL = ('--size', 8, '--short-side', 40, '--train', 7, '--val', 4)


@pytest.fixture(scope='module')
def module():
    spec = spec_from_file_location('tool_crop_photos', TOOL)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cut(module):
    """cut(*arguments) is its exit code and what it says on stderr."""

    def call(*arguments):
        err, code = io.StringIO(), 0
        with redirect_stdout(io.StringIO()), redirect_stderr(err):
            try:
                run_command(lambda: module.main([*map(str, arguments)]))
            except SystemExit as end:
                code = end.code
        return code, err.getvalue()

    return call


def places(height, width):
    """An image whose pixels tell their row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Two photographs that `SMALL` does not scale, one upright."""
    folder = tmp_path / 'photos'
    (folder / 'sub').mkdir(parents=True)
    Image.fromarray(places(40, 90)).save(folder / 'wide.png')
    Image.fromarray(places(70, 40)).save(folder / 'sub/high.png')
    return folder


def corners(folder):
    """Of each crop the row and column of its first pixel in the photograph; checks the others."""
    found = []
    for path in sorted(folder.iterdir()):
        crop = np.asarray(Image.open(path)).astype(int)
        row, column = crop[0, 0, :2]
        assert (crop == places(256, 256)[row : row + 8, column : column + 8]).all()
        found.append((row, column))
    assert len(set(found)) == len(found)
    return np.array(found)


def test_no_pixel_is_in_both_parts(cut, photos, tmp_path):
    out = tmp_path / 'a/crops'
    assert cut(photos, out, *SMALL)[0] == 0
    for name, axis, end, length in (('wide', 1, 54, 90), ('high', 0, 42, 70)):
        train, val = (corners(out / split / name) for split in ('train', 'val'))
        assert (len(train), len(val)) == (7, 4)
        # Corner and corner are both reached: up to the end of each part, and no further.
        assert (train[:, axis].min(), train[:, axis].max() + 8) == (0, end)
        assert (val[:, axis].min(), val[:, axis].max() + 8) == (end + 8, length)
        for part in (train, val):
            assert (part[:, 1 - axis].min(), part[:, 1 - axis].max() + 8) == (0, 40)


def test_classes_are_photographs(cut, photos, tmp_path):
    cut(photos, tmp_path / 'crops', *SMALL)
    for split, number in (('train', 7), ('val', 4)):
        source = ImageFolder(str(tmp_path / 'crops'), split)
        assert source.metainfo['classes'] == ('high', 'wide')
        assert np.bincount(source.get_gt_labels()).tolist() == [number, number]


def test_larger_photographs_are_scaled_and_all_runs_are_equal(cut, photos, tmp_path):
    options = (*SMALL[:2], '--short-side', 30, *SMALL[4:])
    files = []
    for name in ('one', 'two'):
        assert cut(photos, tmp_path / name, *options)[0] == 0
        paths = sorted((tmp_path / name).rglob('*.png'))
        files.append([(p.relative_to(tmp_path / name), p.read_bytes()) for p in paths])
    assert files[0] == files[1]
    rows = np.asarray(Image.open(tmp_path / 'one/train/wide/0000.png'))[:, 0, 0]
    assert rows[-1] - rows[0] == pytest.approx(7 * 40 / 30, abs=1.5)


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        (('--short-side', 50), 'wide.png: 90 x 40 pixels, smaller than --short-side 50; lower'),
        (('--val', 2000), 'a part of 28 x 40 pixels has no places for 2,000 crops of 8; fewer'),
        (('--size', 30), 'a part of 6 x 40 pixels has no places for 4 crops of 30'),
    ],
)
def test_photographs_that_are_too_small(cut, photos, tmp_path, options, line):
    code, err = cut(photos, tmp_path / 'crops', *SMALL, *options)
    assert (code, line in err, err.count('\n')) == (1, True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ['photos']


def test_bad_folders(cut, photos, tmp_path):
    def error(*arguments):
        code, err = cut(*arguments, *SMALL)
        assert (code, err.count('\n')) == (1, 1)
        return err

    assert 'lies within' in error(photos, photos / 'crops')
    assert 'exists already' in error(photos, tmp_path)
    assert 'one photograph alone makes no classes' in error(photos / 'sub', tmp_path / 'crops')
    assert 'nowhere' in error(tmp_path / 'nowhere', tmp_path / 'crops')
    (photos / 'high.jpg').write_bytes(b'no image')
    assert 'would be one class; rename' in error(photos, tmp_path / 'crops')
    (photos / 'sub/high.png').unlink()
    assert 'high.jpg: cannot be decoded' in error(photos, tmp_path / 'crops')
    assert not (tmp_path / 'crops').exists()


@pytest.mark.parametrize('options', [('--train', 0), ('--size', 300)])
def test_bad_options(module, options, capsys):
    with pytest.raises(SystemExit) as end:
        module.parse_args(['photos', 'crops', *map(str, options)])
    assert end.value.code == 2
    assert '--size' in capsys.readouterr().err
