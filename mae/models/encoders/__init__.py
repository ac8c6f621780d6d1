from mae.models.encoders.vit import ViTEncoder

__all__ = ['ViTEncoder']
