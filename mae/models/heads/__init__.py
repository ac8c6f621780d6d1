from mae.models.heads.cascade_roi import CascadeRoIHead
from mae.models.heads.fcn import FCNHead
from mae.models.heads.linear import LinearHead
from mae.models.heads.linear_grid import LinearGridHead
from mae.models.heads.pixel_linear import PixelLinearHead
from mae.models.heads.roi import RoIHead
from mae.models.heads.rpn import RPN
from mae.models.heads.upernet import UPerHead

__all__ = [
    'RPN',
    'CascadeRoIHead',
    'FCNHead',
    'LinearGridHead',
    'LinearHead',
    'PixelLinearHead',
    'RoIHead',
    'UPerHead',
]
