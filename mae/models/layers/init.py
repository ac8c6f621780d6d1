"""Initialisation of weights (paper appendix A.1: "xavier_uniform for all transformer blocks")."""

import math

from torch import nn


def init_transformer(module: nn.Module) -> None:
    """Initialise every layer below `module` as in the paper's recipe.

    Linear: Xavier uniform, bias 0. Patch projection: Xavier uniform on the flattened kernel, the
    bias uniform in +-1/sqrt(P) for P values in a patch: torch's default for a convolution, which
    the authors' code does not change (the paper does not say). LayerNorm: 1 and 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d):
            fan_in, fan_out = layer.weight[0].numel(), len(layer.weight)
            bound = math.sqrt(6 / (fan_in + fan_out))
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -(fan_in**-0.5), fan_in**-0.5)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def init_token(token: nn.Parameter) -> None:
    """Initialise a learned token: normal with deviation .02."""
    nn.init.normal_(token, std=0.02)
