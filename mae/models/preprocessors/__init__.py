from mae.models.preprocessors.encoded import EncodedPreprocessor
from mae.models.preprocessors.image import ImagePreprocessor

__all__ = ['EncodedPreprocessor', 'ImagePreprocessor']
