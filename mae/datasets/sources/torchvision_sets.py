"""Every classification set of torchvision as a source: `type='torchvision.Flowers102'`."""

import fcntl
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, get_type_hints

from mmengine.logging import print_log
from torchvision import datasets

from mae.datasets.sources.torchvision_images import TorchvisionImages
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
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


for _name in HOMES:
    if (_kind := getattr(datasets, _name, None)) is not None:  # older versions have fewer
        TORCHVISION_DATASETS.register_module(_name, module=_builder(_name, _kind))
