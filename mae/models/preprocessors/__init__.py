from mae.models.preprocessors.dense import DensePreprocessor
from mae.models.preprocessors.image import ImagePreprocessor

__all__ = ['DensePreprocessor', 'ImagePreprocessor']
