from mae.models.preprocessors.image import ImagePreprocessor

__all__ = ['ImagePreprocessor']
