"""How weights start (paper appendix A.1: "xavier_uniform for all transformer blocks")."""

import math

from torch import nn


def init_transformer(module: nn.Module) -> None:
    """Start every layer below `module` as the recipe says.

    Linear: Xavier uniform, bias 0. Patch projection: Xavier uniform on the flattened kernel.
    LayerNorm: 1 and 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d):
            bound = math.sqrt(6 / (layer.weight[0].numel() + len(layer.weight)))
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def init_token(token: nn.Parameter) -> None:
    """Start a learned token: normal with deviation .02."""
    nn.init.normal_(token, std=0.02)
