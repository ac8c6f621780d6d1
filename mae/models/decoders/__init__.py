from mae.models.decoders.transformer import TransformerDecoder

__all__ = ['TransformerDecoder']
