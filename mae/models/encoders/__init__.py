from mae.models.encoders.dense_vit import DenseViTEncoder
from mae.models.encoders.vit import ViTEncoder

__all__ = ['DenseViTEncoder', 'ViTEncoder']
