"""Every classification set of torchvision as a source: `type='torchvision.Flowers102'`."""

import fcntl
import inspect
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, get_type_hints

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from torchvision import datasets

from mae.datasets.sources.path_index import PathIndex, index_of
from mae.registry import TORCHVISION_DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.text import one_line

# Name in torchvision and where the data comes from.
HOMES = {
    'CIFAR10': 'https://www.cs.toronto.edu/~kriz/cifar.html',
    'CIFAR100': 'https://www.cs.toronto.edu/~kriz/cifar.html',
    'Caltech101': 'https://data.caltech.edu/records/mzrjq-6wc02',
    'Caltech256': 'https://data.caltech.edu/records/nyy15-4j048',
    'Country211': 'https://github.com/openai/CLIP/blob/main/data/country211.md',
    'DTD': 'https://www.robots.ox.ac.uk/~vgg/data/dtd/',
    'EMNIST': 'https://www.nist.gov/itl/products-and-services/emnist-dataset',
    'EuroSAT': 'https://github.com/phelber/eurosat',
    'FER2013': 'https://www.kaggle.com/c/'
    'challenges-in-representation-learning-facial-expression-recognition-challenge',
    'FGVCAircraft': 'https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/',
    'FashionMNIST': 'https://github.com/zalandoresearch/fashion-mnist',
    'Flowers102': 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/',
    'Food101': 'https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/',
    'GTSRB': 'https://benchmark.ini.rub.de/',
    'INaturalist': 'https://github.com/visipedia/inat_comp',
    'ImageNet': 'https://image-net.org/',
    'Imagenette': 'https://github.com/fastai/imagenette',
    'KMNIST': 'http://codh.rois.ac.jp/kmnist/',
    'LFWPeople': 'http://vis-www.cs.umass.edu/lfw/',
    'MNIST': 'http://yann.lecun.com/exdb/mnist/',
    'Omniglot': 'https://github.com/brendenlake/omniglot',
    'OxfordIIITPet': 'https://www.robots.ox.ac.uk/~vgg/data/pets/',
    'PCAM': 'https://github.com/basveeling/pcam',
    'Places365': 'http://places2.csail.mit.edu/',
    'QMNIST': 'https://github.com/facebookresearch/qmnist',
    'RenderedSST2': 'https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md',
    'SEMEION': 'https://archive.ics.uci.edu/dataset/178',
    'STL10': 'https://cs.stanford.edu/~acoates/stl10/',
    'SUN397': 'https://vision.princeton.edu/projects/2010/SUN/',
    'SVHN': 'http://ufldl.stanford.edu/housenumbers/',
    'StanfordCars': 'https://github.com/pytorch/vision/issues/7545',
    'USPS': 'https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html',
}
_BROKEN = ('StanfordCars',)  # its home is gone, so download=True only raises an error
# What this toolbox does itself.
_OURS = ('self', 'transform', 'target_transform', 'transforms', 'loader', 'is_valid_file')
_BY_ANNOTATION = ('2017', '2018', '2019')  # of iNaturalist: splits are not in the folders

_IMAGES = ('_image_files', '_images', 'data')
_LABELS = ('_labels', 'targets', 'labels')
_PAIRS = ('samples', '_samples', 'imgs')


class TorchvisionImages:
    """Images and labels of a data set of torchvision, which has been built.

    Where the set keeps paths and labels, or all pixels, in memory, these are used; whatever else
    it may be, `dataset[index]` is asked, which decodes the image in the worker.

    Args:
        dataset: a `VisionDataset` whose samples are (image, label).
        name: of its class, for messages.

    Raises:
        DataError: it holds no images, or the first file is missing.
    """

    def __init__(self, dataset: Any, name: str) -> None:
        if not len(dataset):
            raise DataError(f'torchvision.{name}: {dataset.root}: holds no images')
        self._files: PathIndex | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._labels: NDArray[np.int64] | None = None
        self._dataset: Any = dataset
        classes = _classes_of(dataset)
        columns = _columns(dataset)
        if columns is not None and _agree(dataset, *columns):
            images, labels = columns
            self._labels = np.asarray(labels, np.int64)
            if isinstance(images, np.ndarray):
                self._pixels = images
            else:
                self._folder, self._files = _compact(images, labels, name)
            self._dataset = None  # its lists would be copied into every worker
            if not classes and self._labels.max() >= 0:
                classes = tuple(map(str, range(int(self._labels.max()) + 1)))
        self._length = len(dataset)
        self.metainfo: dict[str, Any] = {'classes': classes}

    def __len__(self) -> int:
        return self._length

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(gt_label int, and img_path str of sets of files, else img: an array or Pillow's)."""
        index = range(len(self))[index]
        if self._labels is None:
            image, label = self._dataset[index]
            return {'img': image, 'gt_label': label}
        label = int(self._labels[index])
        if self._files is not None:
            path = os.path.join(self._folder, self._files.path(index))
            return {'img_path': path, 'gt_label': label}
        assert self._pixels is not None
        return {'img': self._pixels[index], 'gt_label': label}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images; decodes them all where the set keeps no list."""
        if self._labels is not None:
            return self._labels
        return np.array([self._dataset[index][1] for index in range(len(self))], np.int64)


def _columns(dataset: Any) -> tuple[Any, Any] | None:
    """Paths, or pixels (N, H, W) or (N, H, W, C), and labels, from where the set keeps them."""
    if isinstance(dataset, datasets.Caltech101 | datasets.Caltech256):
        return _caltech_paths(dataset), dataset.y
    if isinstance(dataset, datasets.INaturalist):
        folders = [os.path.join(dataset.root, name) for name in dataset.all_categories]
        numbers = [number for number, _ in dataset.index]
        return [os.path.join(folders[n], file) for n, file in dataset.index], numbers
    for name in _PAIRS:
        if pairs := getattr(dataset, name, None):
            return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    images = next((getattr(dataset, name) for name in _IMAGES if hasattr(dataset, name)), None)
    labels = next((getattr(dataset, name) for name in _LABELS if hasattr(dataset, name)), None)
    if images is None or labels is None:
        return None
    if not isinstance(images, Sequence):
        images = np.asarray(images)
        if images.ndim == 4 and images.shape[1] == 3 != images.shape[3]:  # SVHN, STL10
            images = images.transpose(0, 2, 3, 1)
    return images, labels


def _caltech_paths(dataset: Any) -> list[str]:
    if isinstance(dataset, datasets.Caltech101):
        folder = os.path.join(dataset.root, '101_ObjectCategories')
        names = [f'image_{number:04d}.jpg' for number in dataset.index]
    else:
        folder = os.path.join(dataset.root, '256_ObjectCategories')
        pairs = zip(dataset.y, dataset.index, strict=True)
        names = [f'{label + 1:03d}_{number:04d}.jpg' for label, number in pairs]
    pairs = zip(dataset.y, names, strict=True)
    return [os.path.join(folder, dataset.categories[label], name) for label, name in pairs]


def _agree(dataset: Any, images: Any, labels: Any) -> bool:
    """Whether the columns are what the set gives, by its first and its last sample.

    They are not part of torchvision's interface, and with some options labels are others.
    """
    if len(images) != len(dataset) or np.ndim(labels) != 1 or np.asarray(labels).dtype.kind != 'i':
        return False
    is_array = isinstance(images, np.ndarray)
    if is_array and images.dtype != np.uint8:
        return False
    if not (is_array or all(isinstance(images[n], str | os.PathLike) for n in (0, -1))):
        return False
    for index in (0, len(dataset) - 1):
        try:
            image, label = dataset[index]
        except Exception:  # a damaged file is found when it is read
            continue
        same = isinstance(label, int | np.integer) and label == labels[index]
        if not same or (is_array and not np.array_equal(np.asarray(image), images[index])):
            return False
        if hasattr(image, 'close'):  # some sets open a file and read it when it is used
            image.close()
    return True


def _compact(paths: Sequence[Any], labels: Any, name: str) -> tuple[str, PathIndex]:
    """The folder that all files share, and their paths below it."""
    names = [os.fspath(path) for path in paths]
    if not os.path.isfile(names[0]):
        raise DataError(
            f'torchvision.{name}: {names[0]}: no such file, but it is the first image of the set'
        )
    order: Any = range(len(names))
    if name == 'SUN397':  # torchvision takes them as the file system lists them
        order = np.argsort(names)
    # What the first and the last in order have in common, all have.
    folder = os.path.commonpath([os.path.dirname(name) for name in (min(names), max(names))])
    below = (names[n][len(folder) :].lstrip('/') for n in order)
    labels = np.asarray(labels)[np.asarray(order)]
    return folder, index_of(below, labels)


def _classes_of(dataset: Any) -> tuple[str, ...]:
    """Names in the order of the labels, if the set has them."""
    for name in ('classes', 'categories', 'all_categories'):
        if found := getattr(dataset, name, None):
            return tuple(c if isinstance(c, str) else ', '.join(c) for c in found)
    return ()


# --- how a config builds one --------------------------------------------------------------


def _builder(name: str, kind: type) -> Callable[..., TorchvisionImages]:
    """A function of the keywords of a class, so that a config with others is refused."""

    def build(**options: Any) -> TorchvisionImages:
        if name == 'INaturalist' and str(options.get('version', '')).startswith(_BY_ANNOTATION):
            text = (
                f'torchvision.INaturalist: version {options["version"]} holds train and val '
                'together; JsonImages tells them apart by the annotation files'
            )
            print_log(text, 'current', logging.WARNING)
        try:
            signature.bind(**options)
        except TypeError as error:
            raise ConfigError(f'torchvision.{name}: {error}') from None
        options = {**defaults, **options}
        is_fetching = bool(options.get('download'))
        with _alone(str(options.get('root', '.'))) if is_fetching else nullcontext():
            return TorchvisionImages(_build(name, kind, options), name)

    parameters, hints = _parameters(kind)
    signature = inspect.Signature(parameters)
    # SEMEION's own default is True.
    defaults = {'download': False} if 'download' in signature.parameters else {}
    build.__name__ = build.__qualname__ = name
    build.__annotations__ = hints
    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__doc__ = f'`torchvision.datasets.{name}` as a source.'
    return build


def _parameters(kind: type) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """Keywords of a class and, where it hands on any others, of its bases; and their types."""
    found: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    for base in kind.__mro__[:-1]:
        if '__init__' not in vars(base):
            continue
        function = vars(base)['__init__']
        types, is_open = get_type_hints(function), False
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                is_open = True
            elif parameter.name not in (*_OURS, *found):
                found[parameter.name] = parameter.replace(kind=parameter.KEYWORD_ONLY)
                hints[parameter.name] = types.get(parameter.name, Any)
        if not is_open:
            break
    return list(found.values()), hints


def _build(name: str, kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    """The data set, or one line that says what is missing."""
    where = f'torchvision.{name}: {options.get("root", "")}'
    try:
        return kind(**options)
    except ImportError as error:
        package = error.name or 'a package'
        raise ConfigError(f'torchvision.{name} needs {package}: pip install {package}') from error
    except ValueError as error:
        raise ConfigError(f'{where}: {one_line(error)}') from error
    except (RuntimeError, OSError) as error:
        if 'pip install' in str(error):  # PCAM without h5py
            raise ConfigError(f'torchvision.{name}: {one_line(error)}') from error
        if options.get('download'):
            raise DataError(f'{where}: cannot be fetched: {one_line(error)}') from error
        cure = '; download=True fetches it' if 'download' in options and name not in _BROKEN else ''
        raise DataError(
            f'{where}: not there or not whole ({_reason(error)}); it comes from {HOMES[name]}{cure}'
        ) from error


def _reason(error: Exception) -> str:
    """What torchvision says, without its own advice."""
    return one_line(error).partition(' You can ')[0].rstrip('.')


@contextmanager
def _alone(root: str) -> Iterator[None]:
    """One process of a machine fetches; the others find what it fetched."""
    os.makedirs(root, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


for _name in HOMES:
    if (_kind := getattr(datasets, _name, None)) is not None:  # older versions have fewer
        TORCHVISION_DATASETS.register_module(_name, module=_builder(_name, _kind))
