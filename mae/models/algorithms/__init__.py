from mae.models.algorithms.classifier import Classifier
from mae.models.algorithms.mae import MAE

__all__ = ['MAE', 'Classifier']
