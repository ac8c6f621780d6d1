"""Importing this package registers metrics, evaluation loops and hooks."""

from mae.evaluation.accuracy import Accuracy
from mae.evaluation.average_precision import AveragePrecision
from mae.evaluation.evaluator import Evaluator
from mae.evaluation.grid_accuracy import GridAccuracy
from mae.evaluation.knn import knn_scores
from mae.evaluation.knn_evaluation import KNNHook, KNNLoop
from mae.evaluation.loops import TestLoop, ValLoop
from mae.evaluation.mean_iou import MeanIoU
from mae.evaluation.probes import KNNProbe, LinearProbe
from mae.evaluation.reconstruction import ReconstructionLoss

__all__ = [
    'Accuracy',
    'AveragePrecision',
    'Evaluator',
    'GridAccuracy',
    'KNNHook',
    'KNNLoop',
    'KNNProbe',
    'LinearProbe',
    'MeanIoU',
    'ReconstructionLoss',
    'TestLoop',
    'ValLoop',
    'knn_scores',
]
