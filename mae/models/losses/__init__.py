from mae.models.losses.cross_entropy import CrossEntropyLoss
from mae.models.losses.masked_cross_entropy import MaskedCrossEntropyLoss
from mae.models.losses.masked_mse import MaskedMSELoss
from mae.models.losses.pixel_cross_entropy import PixelCrossEntropyLoss

__all__ = [
    'CrossEntropyLoss',
    'MaskedCrossEntropyLoss',
    'MaskedMSELoss',
    'PixelCrossEntropyLoss',
]
