"""What tools and notebooks call. Each name is imported at its first use."""

from typing import TYPE_CHECKING

from mae.late_imports import import_late

if TYPE_CHECKING:
    from mae.apis.batch_picture import draw_batch
    from mae.apis.classify import ImageClassifierInferencer
    from mae.apis.detect import DetectionInferencer
    from mae.apis.feature_pictures import draw_features, draw_neighbours
    from mae.apis.features import FeatureExtractor
    from mae.apis.formats import convert
    from mae.apis.images import read_images
    from mae.apis.log_picture import draw_log
    from mae.apis.mistakes import TestImages, draw_confusion, draw_mistakes
    from mae.apis.model import init_model
    from mae.apis.own_classes import finetune
    from mae.apis.own_data import pretrain
    from mae.apis.publication import publish
    from mae.apis.push import push_to_hub
    from mae.apis.reconstruct import draw_reconstructions, reconstruct
    from mae.apis.report import report_runs
    from mae.apis.runs import test, train
    from mae.apis.schedule_picture import draw_schedule
    from mae.apis.segment import SegmentationInferencer
    from mae.apis.token_pictures import draw_attention, draw_pca
    from mae.apis.zoo import get_model, list_models
    from mae.config import find_config, load_config
    from mae.utils.trust import trust_checkpoint
    from mae.zoo.fetch import fetch

__all__ = [
    'DetectionInferencer',
    'FeatureExtractor',
    'ImageClassifierInferencer',
    'SegmentationInferencer',
    'TestImages',
    'convert',
    'draw_attention',
    'draw_batch',
    'draw_confusion',
    'draw_features',
    'draw_log',
    'draw_mistakes',
    'draw_neighbours',
    'draw_pca',
    'draw_reconstructions',
    'draw_schedule',
    'fetch',
    'find_config',
    'finetune',
    'get_model',
    'init_model',
    'list_models',
    'load_config',
    'pretrain',
    'publish',
    'push_to_hub',
    'read_images',
    'reconstruct',
    'report_runs',
    'test',
    'train',
    'trust_checkpoint',
]

import_late(
    __name__,
    {
        'DetectionInferencer': 'mae.apis.detect',
        'FeatureExtractor': 'mae.apis.features',
        'ImageClassifierInferencer': 'mae.apis.classify',
        'SegmentationInferencer': 'mae.apis.segment',
        'TestImages': 'mae.apis.mistakes',
        'convert': 'mae.apis.formats',
        'draw_attention': 'mae.apis.token_pictures',
        'draw_batch': 'mae.apis.batch_picture',
        'draw_confusion': 'mae.apis.mistakes',
        'draw_features': 'mae.apis.feature_pictures',
        'draw_log': 'mae.apis.log_picture',
        'draw_mistakes': 'mae.apis.mistakes',
        'draw_neighbours': 'mae.apis.feature_pictures',
        'draw_pca': 'mae.apis.token_pictures',
        'draw_reconstructions': 'mae.apis.reconstruct',
        'draw_schedule': 'mae.apis.schedule_picture',
        'fetch': 'mae.zoo.fetch',
        'find_config': 'mae.config',
        'finetune': 'mae.apis.own_classes',
        'get_model': 'mae.apis.zoo',
        'init_model': 'mae.apis.model',
        'list_models': 'mae.apis.zoo',
        'load_config': 'mae.config',
        'pretrain': 'mae.apis.own_data',
        'publish': 'mae.apis.publication',
        'push_to_hub': 'mae.apis.push',
        'read_images': 'mae.apis.images',
        'reconstruct': 'mae.apis.reconstruct',
        'report_runs': 'mae.apis.report',
        'test': 'mae.apis.runs',
        'train': 'mae.apis.runs',
        'trust_checkpoint': 'mae.utils.trust',
    },
)
