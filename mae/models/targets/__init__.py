from mae.models.layers.tokens import take
from mae.models.targets.base import Target
from mae.models.targets.feature import FeatureTarget
from mae.models.targets.hog import HOGTarget
from mae.models.targets.low_frequency import LowFrequencyTarget
from mae.models.targets.pixel import PixelTarget

__all__ = [
    'FeatureTarget',
    'HOGTarget',
    'LowFrequencyTarget',
    'PixelTarget',
    'Target',
    'take',
]
