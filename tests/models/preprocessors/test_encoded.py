"""`EncodedCrop`, its collate function and preprocessor: the same images, bit for bit on a CPU."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage import data

import mae
from mae.config import load_config
from mae.datasets import SeededDataset, collate
from mae.datasets.transforms import collate_encoded
from mae.models.preprocessors import EncodedPreprocessor, ImagePreprocessor
from mae.registry import FUNCTIONS, MODELS
from mae.utils.errors import ConfigError, DataError
from tests.image_bytes import encode

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
PLAIN = [
    dict(type='DecodeImage'),
    dict(type='RandomResizedCrop', size=(32, 48)),
    dict(type='RandomFlip'),
    dict(type='PackInputs'),
]
PUT_OFF = [dict(type='EncodedCrop', size=(32, 48))]


class Files:
    """Photographs in several formats, in memory."""

    def __init__(self):
        photo = Image.fromarray(data.astronaut()[:200, :300])
        turned = Image.Exif()
        turned[0x0112] = 6
        noted = Image.Exif()
        noted[0x010E] = 'a photograph'
        self.files = [
            encode(photo),
            encode(photo, progressive=True),
            encode(photo, exif=noted),
            encode(photo, exif=turned),
            encode(photo.convert('L')),
            encode(photo.convert('CMYK')),
            encode(photo, 'PNG'),
        ]

    def __len__(self):
        return len(self.files)

    def get_data_info(self, index):
        return {'img_path': f'file {index}', 'img_bytes': self.files[index], 'gt_label': index}


def batches(files):
    requests = [(number, 1000 * number + 7) for number in range(3 * len(files))]
    return [
        stack(SeededDataset(files, pipeline).__getitems__(requests))
        for pipeline, stack in ((PLAIN, collate), (PUT_OFF, collate_encoded))
    ]


def test_same_images():
    plain, encoded = batches(Files())
    assert encoded['encoded'].ndim == 1
    heights = encoded['crops'][:7, 2].tolist()
    assert [bool(height) for height in heights] == [True] * 3 + [False] * 4
    part = EncodedPreprocessor(MEAN, STD)
    ours, expected = part(encoded), ImagePreprocessor(MEAN, STD)(plain)
    assert torch.equal(part(plain)['inputs'], expected['inputs'])
    assert ours.keys() == expected.keys()
    for name in ours:
        assert torch.equal(ours[name], expected[name]), name
    assert ours['inputs'].stride() == expected['inputs'].stride()


def test_a_broken_file_is_named():
    files = Files()
    files.files[1] = files.files[0].replace(b'\xff\xdb', b'\xff\xfe')  # no tables
    encoded = batches_of_encoded(files)
    with pytest.raises(DataError, match='sample 1 cannot be decoded'):
        EncodedPreprocessor(MEAN, STD)(encoded)


def turned_by_xmp(photo):
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    return encode(photo, xmp=xmp)


def with_a_late_exif(photo):
    """The orientation stands behind a colour profile of more than 64 KiB."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, profiled = encode(photo, exif=exif), encode(photo, icc_profile=bytes(100_000))
    start = turned.index(b'\xff\xe1')
    segment = turned[start : start + 2 + int.from_bytes(turned[start + 2 : start + 4], 'big')]
    assert segment[4:8] == b'Exif'
    tables = profiled.index(b'\xff\xdb')
    return profiled[:tables] + segment + profiled[tables:]


@pytest.mark.parametrize('make', [turned_by_xmp, with_a_late_exif])
def test_what_turns_an_image_is_seen_wherever_it_stands(make):
    files = Files()
    files.files = [make(Image.fromarray(data.astronaut()[:200, :300]))] * 2
    plain, encoded = batches(files)
    assert not encoded['crops'][:, 2].any()
    part = EncodedPreprocessor(MEAN, STD)
    assert torch.equal(part(encoded)['inputs'], part(plain)['inputs'])


@pytest.mark.parametrize('pipeline', [PLAIN, PUT_OFF])
def test_what_one_way_refuses_so_does_the_other(pipeline):
    """A bad file must fail in the worker, where another sample can take its place."""
    files = Files()
    progressive = files.files[1]
    scan = progressive.rindex(b'\xff\xda')
    many_scans = progressive[:-2] + progressive[scan:-2] * 200 + b'\xff\xd9'
    for content, reason in ((files.files[0][:2000], 'truncated'), (many_scans, '100 scans')):
        files.files[1] = content
        dataset = SeededDataset(files, pipeline)
        with pytest.raises(DataError, match=f'^file 1: cannot be decoded .*{reason}'):
            dataset[1]


def batches_of_encoded(files):
    return collate_encoded(SeededDataset(files, PUT_OFF).__getitems__([(0, 1), (1, 2)]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu_within_a_few_levels():
    plain, encoded = batches(Files())
    part = EncodedPreprocessor([0.0] * 3, [1.0] * 3).cuda()
    found = part(encoded)['inputs'].cpu()
    assert (found - plain['inputs']).abs().mean() < 1


def chosen(**options):
    pipeline = [{'type': 'EncodedCrop', 'scale': (0.2, 1.0)}]
    return load_config(
        'mae_vit-base-p16_8xb512-amp-coslr-800e_in1k',
        {
            'model.preprocessor.type': 'EncodedPreprocessor',
            'train_dataloader.collate_fn.type': 'collate_encoded',
            'train_dataloader.dataset.pipeline': pipeline,
            **options,
        },
    )


def test_a_config_names_all_three():
    config = chosen()
    assert config.train_dataloader.dataset.pipeline[0].size == 224
    part = MODELS.build(config.model.preprocessor)
    assert isinstance(part, EncodedPreprocessor)
    assert (
        part.mean.flatten().tolist()
        == MODELS.build({**config.model.preprocessor, 'type': 'ImagePreprocessor'})
        .mean.flatten()
        .tolist()
    )
    assert FUNCTIONS.get('collate_encoded') is collate_encoded


def test_keys_of_its_mixup_are_checked_too():
    with pytest.raises(ConfigError, match=r'mixup_alfa.*mixup_alpha'):
        chosen(**{'model.preprocessor.mixup': {'mixup_alfa': 0.8}})


def test_one_of_the_three_alone_is_refused():
    samples = SeededDataset(Files(), PUT_OFF).__getitems__([(0, 1), (1, 2)])
    with pytest.raises(DataError, match='collate_fn'):
        collate(samples)
    with pytest.raises(DataError, match='EncodedCrop'):
        collate_encoded(SeededDataset(Files(), PLAIN).__getitems__([(0, 1)]))
    with pytest.raises(ValueError, match=r'model\.preprocessor\.type'):
        ImagePreprocessor(MEAN, STD)(collate_encoded(samples))


def test_no_other_file_knows_of_it():
    """A reader of the ordinary way meets neither the parts nor their batches."""
    root = Path(mae.__file__).parent
    own = {'datasets/transforms/encoded.py', 'models/preprocessors/encoded.py'}
    lists = {'datasets/transforms/__init__.py', 'models/preprocessors/__init__.py'}
    known = re.compile(r"EncodedCrop|EncodedPreprocessor|collate_encoded|with_decoded|'encoded'")
    files = {str(file.relative_to(root)): file.read_text() for file in root.rglob('*.py')}
    assert {name for name, text in files.items() if known.search(text)} == own | lists
    for name in ('datasets/collate.py', 'models/preprocessors/image.py', 'engine/img_size.py'):
        assert 'encoded' not in files[name].lower()
