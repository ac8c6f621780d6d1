from mae.models.targets.pixel import PixelTarget

__all__ = ['PixelTarget']
