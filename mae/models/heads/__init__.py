from mae.models.heads.linear import LinearHead
from mae.models.heads.linear_grid import LinearGridHead

__all__ = ['LinearGridHead', 'LinearHead']
