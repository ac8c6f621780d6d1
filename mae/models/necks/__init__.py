from mae.models.necks.levels import LevelsNeck
from mae.models.necks.simple_pyramid import SimplePyramid

__all__ = ['LevelsNeck', 'SimplePyramid']
