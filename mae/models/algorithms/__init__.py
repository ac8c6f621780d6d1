from mae.models.algorithms.classifier import Classifier
from mae.models.algorithms.detector import Detector
from mae.models.algorithms.mae import MAE
from mae.models.algorithms.segmenter import Segmenter

__all__ = ['MAE', 'Classifier', 'Detector', 'Segmenter']
