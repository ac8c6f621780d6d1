"""RankMe: how many directions the features fill, without labels (Garrido et al. 2023, section 3).

Shapes: M images, D width.
"""

import torch
from torch import Tensor

_EPS = 1e-7  # of the paper, for singular values of 0


def rankme(features: Tensor) -> float:
    """The effective rank of features: exp of the entropy of their singular values.

    1 if all images have the same direction, at most min(M, D). The paper takes 25,600 images; a
    value from fewer is lower, and comparable only with one from as many.

    Args:
        features: float (M, D).

    Raises:
        ValueError: they are no matrix, or not finite.
    """
    if features.ndim != 2 or not features.numel():
        raise ValueError(f'features must be (M, D), not {tuple(features.shape)}')
    if not features.isfinite().all():
        raise ValueError('the features are NaN or infinite')
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + _EPS
    return float((-shares * shares.log()).sum().exp())
