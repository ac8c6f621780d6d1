from mae.models.preprocessors.dense import DensePreprocessor
from mae.models.preprocessors.encoded import EncodedPreprocessor
from mae.models.preprocessors.image import ImagePreprocessor

__all__ = ['DensePreprocessor', 'EncodedPreprocessor', 'ImagePreprocessor']
