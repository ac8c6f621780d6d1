"""The sizes of ViT by name (Dosovitskiy et al. 2021, table 1; Touvron et al. 2021)."""

from collections.abc import Iterable

ARCHS: dict[str, dict[str, int]] = {
    'tiny': {'embed_dim': 192, 'depth': 12, 'num_heads': 3},
    'small': {'embed_dim': 384, 'depth': 12, 'num_heads': 6},
    'base': {'embed_dim': 768, 'depth': 12, 'num_heads': 12},
    'large': {'embed_dim': 1024, 'depth': 24, 'num_heads': 16},
    'huge': {'embed_dim': 1280, 'depth': 32, 'num_heads': 16},
}


def arch_name(embed_dim: int, depth: int) -> str | None:
    """The name of the sizes that have this width and depth."""
    size = {'embed_dim': embed_dim, 'depth': depth}
    return next((name for name, arch in ARCHS.items() if size.items() <= arch.items()), None)


def count_blocks(names: Iterable[str]) -> int:
    """Depth of the encoder that has parameters of these names, such as 'encoder.blocks.0.norm1'."""
    prefix = 'encoder.blocks.'
    return len({name.split('.')[2] for name in names if name.startswith(prefix)})
