from mae.models.necks.fpn import FPNNeck
from mae.models.necks.levels import LevelsNeck
from mae.models.necks.pyramid_backbone import PyramidBackbone
from mae.models.necks.simple_pyramid import SimplePyramid

__all__ = ['FPNNeck', 'LevelsNeck', 'PyramidBackbone', 'SimplePyramid']
