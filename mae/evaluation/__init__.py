"""Importing this package registers metrics, evaluation loops and hooks."""

from mae.evaluation.accuracy import Accuracy
from mae.evaluation.average_precision import AveragePrecision
from mae.evaluation.corruption_error import CorruptionError
from mae.evaluation.effective_rank import rankme
from mae.evaluation.evaluator import Evaluator
from mae.evaluation.grid_accuracy import GridAccuracy
from mae.evaluation.group_probes import GroupProbeLoop
from mae.evaluation.knn import knn_scores
from mae.evaluation.knn_evaluation import KNNHook, KNNLoop
from mae.evaluation.loops import TestLoop, ValLoop
from mae.evaluation.mean_iou import MeanIoU
from mae.evaluation.per_class import PerClass
from mae.evaluation.probes import KNNProbe, LinearProbe
from mae.evaluation.real_accuracy import RealAccuracy
from mae.evaluation.reconstruction import ReconstructionLoss
from mae.evaluation.subset_accuracy import SubsetAccuracy

__all__ = [
    'Accuracy',
    'AveragePrecision',
    'CorruptionError',
    'Evaluator',
    'GridAccuracy',
    'GroupProbeLoop',
    'KNNHook',
    'KNNLoop',
    'KNNProbe',
    'LinearProbe',
    'MeanIoU',
    'PerClass',
    'RealAccuracy',
    'ReconstructionLoss',
    'SubsetAccuracy',
    'TestLoop',
    'ValLoop',
    'knn_scores',
    'rankme',
]
