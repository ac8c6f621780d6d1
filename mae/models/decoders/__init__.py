from mae.models.decoders.cross import CrossDecoder
from mae.models.decoders.transformer import TransformerDecoder

__all__ = ['CrossDecoder', 'TransformerDecoder']
