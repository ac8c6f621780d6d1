"""What tools and notebooks call."""

from mae.apis.classify import ImageClassifierInferencer
from mae.apis.detect import DetectionInferencer
from mae.apis.features import FeatureExtractor
from mae.apis.formats import convert
from mae.apis.model import init_model
from mae.apis.publication import publish
from mae.apis.reconstruct import reconstruct
from mae.apis.runs import test, train
from mae.apis.segment import SegmentationInferencer
from mae.apis.zoo import get_model, list_models
from mae.config import find_config, load_config
from mae.zoo.fetch import fetch

__all__ = [
    'DetectionInferencer',
    'FeatureExtractor',
    'ImageClassifierInferencer',
    'SegmentationInferencer',
    'convert',
    'fetch',
    'find_config',
    'get_model',
    'init_model',
    'list_models',
    'load_config',
    'publish',
    'reconstruct',
    'test',
    'train',
]
