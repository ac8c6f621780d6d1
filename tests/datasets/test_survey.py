"""What `survey` finds in folders of all sorts, and which of them it refuses."""

import numpy as np
import pytest
from tifffile import imwrite

from mae.datasets.survey import split_of, survey
from mae.utils.errors import DataError
from tests.image_bytes import png16
from tests.own_images import colours, noise, save, turned


def test_a_folder_of_all_sorts(tmp_path):
    root = tmp_path / 'my photos ä雪'
    save(root / 'a.jpg', noise(30, 60), exif=turned())
    save(root / 'b b' / 'ü.png', noise(40, 50, 1))
    save(root / 'c.png', noise(41, 50, 4))
    save(root / 'd.tif', noise(42, 50, 1, dtype=np.uint16))
    broken = save(root / 'e.jpg', noise(60, 60))
    broken.write_bytes(broken.read_bytes()[:900])
    found = survey(str(root))
    assert found.num_images == found.num_looked_at == 5
    assert found.num_readable == 4
    assert [look.size for look in found.looks] == [(60, 30), (41, 50), (42, 50), (40, 50)]
    assert [look.channels for look in found.looks] == [3, 3, 1, 1]
    assert (found.short_side, found.channels) == (40, 3)
    assert [path for path, _ in found.unreadable] == [str(broken)]
    assert found.describe() == [
        'looked at each: 2 colour, 2 grey; half are 50 x 41 pixels or more',
        '1 with transparency, which is dropped',
        '1 with 16 bits, of which the upper 8 are kept',
    ]
    (warning,) = found.warnings()
    assert warning.endswith('e.jpg: the JPEG is truncated: its end is missing')


def test_mean_and_deviation_are_those_of_the_pixels(tmp_path):
    pixels = [noise(20, 30, 5, seed=seed) for seed in range(3)]
    for index, image in enumerate(pixels):
        save(tmp_path / f'{index}.npy', image)
    found = survey(str(tmp_path))
    every = np.concatenate([image.reshape(-1, 5) for image in pixels]).astype(float)
    assert found.channels == 5
    assert found.extensions == ('.npy',)
    assert found.mean == pytest.approx(every.mean(0), abs=0.01)
    assert found.std == pytest.approx(every.std(0), abs=0.01)


def test_a_large_folder_is_sampled_evenly(tmp_path):
    colours(tmp_path, 40)
    found = survey(str(tmp_path), sample=7)
    assert (found.num_images, found.num_looked_at) == (40, 7)
    assert found.describe()[0].startswith('looked at 7 of them')


def test_16_bits_of_which_few_are_used_are_a_warning_where_8_are_kept(tmp_path):
    save(tmp_path / 'a.png', noise(20, 20, 1, dtype=np.uint16) >> 4)
    assert survey(str(tmp_path)).warnings() == []
    colours(tmp_path, 2)
    found = survey(str(tmp_path))
    assert found.bits == 8
    (line,) = found.warnings()
    assert line.startswith('1 image of 16 bits uses at most 8,192 of 65,536 values')


@pytest.mark.parametrize('suffix', ['.npy', '.png', '.tif'])
@pytest.mark.parametrize('channels', [1, 3])
def test_of_16_bits_all_are_kept_and_measured(tmp_path, suffix, channels):
    pixels = noise(20, 30, channels, dtype=np.uint16) >> 6  # of a camera of 10 bits
    path = tmp_path / f'a{suffix}'
    if channels == 3 and suffix == '.png':
        path.write_bytes(png16(pixels))
    elif channels == 3 and suffix == '.tif':
        imwrite(path, pixels, photometric='rgb')
    else:
        save(path, pixels)
    found = survey(str(tmp_path))
    every = pixels.reshape(-1, channels) / 257
    assert (found.bits, found.channels) == (16, channels)
    assert found.mean == pytest.approx(every.mean(0), abs=1e-4)
    assert found.std == pytest.approx(every.std(0), abs=1e-4)
    assert '1 with 16 bits, all of which are kept' in found.describe()


def test_classes_are_counted(tmp_path):
    colours(tmp_path / 'train/cat', 3)
    colours(tmp_path / 'train/dog', 2)
    colours(tmp_path / 'val/cat', 1)
    assert split_of(str(tmp_path)) == 'train'
    found = survey(str(tmp_path), split='train', labelled=True)
    assert found.classes == {'cat': 3, 'dog': 2}
    assert found.num_images == 5
    assert split_of(str(tmp_path / 'train')) == ''


def test_a_folder_called_train_alone_is_no_split(tmp_path):
    colours(tmp_path / 'train', 1)
    colours(tmp_path / 'plane', 1)
    assert split_of(str(tmp_path)) == ''


def five_channels(root):
    imwrite(root / 'a.tif', noise(20, 20, 5), photometric='rgb')
    imwrite(root / 'b.tif', noise(20, 20, 5), photometric='minisblack', planarconfig='contig')


def several_kinds(root):
    save(root / 'a.npy', noise(9, 9, 5))
    save(root / 'b.npy', noise(9, 9, 3))


def channels_first(root):
    save(root / 'a.npy', noise(3, 40, 50))
    save(root / 'b.npy', noise(3, 30, 20))


def arrays_among_images(root):
    save(root / 'a.npy', noise(9, 9))
    save(root / 'b.png', noise(9, 9))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda root: None, r': no images; expected files ending in \.jpg .* \.npy$'),
        (
            five_channels,
            r': none of 2 images can be read, .*a\.tif: it has 5 channels; .*arrays \(\.npy\)$',
        ),
        (several_kinds, r': images of different channels, 3 in .*b\.npy, 5 in .*a\.npy: a model '),
        (
            channels_first,
            r'and one is 3 x 40 x 50: if the channels come first, save them as array\.tr',
        ),
        (arrays_among_images, r': 1 array \(\.npy\) among 1 image file: put those '),
    ],
)
def test_what_is_refused_in_one_line(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        survey(str(tmp_path))
    assert '\n' not in str(error.value)


def test_an_image_of_more_channels_among_others_is_left_out(tmp_path):
    colours(tmp_path, 3)
    imwrite(tmp_path / 'five.tif', noise(20, 20, 5), photometric='rgb')
    found = survey(str(tmp_path))
    assert (found.num_images, found.num_readable, found.channels) == (4, 3, 3)
    (warning,) = found.warnings()
    assert warning.startswith(f'cannot be read and is left out: {tmp_path}/five.tif: it has 5 ')
    assert warning.endswith('more than three channels are read from arrays (.npy)')


def test_images_beside_class_folders(tmp_path):
    colours(tmp_path / 'cat', 2)
    colours(tmp_path, 1)
    with pytest.raises(DataError, match=r': 1 image beside its class folders, such as 000\.png: '):
        survey(str(tmp_path), labelled=True)
