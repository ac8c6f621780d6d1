"""Features of images of any kind, and how they are written to files.

Shapes: B images of a batch, M in all, C channels, H W pixels, T tokens, D width.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.config import Config
from safetensors.torch import save
from torch import Tensor, nn

from mae.apis.images import Pictures
from mae.apis.inference import Failure, TensorInferencer
from mae.apis.zoo import LoadedModel
from mae.utils.files import whole_file


@dataclass(frozen=True)
class Features:
    """Result of a `FeatureExtractor`.

    Attributes:
        names: M paths, or numbers of images without one.
        features: float32 (M, D), or (M, T, D), on the CPU, in the order of the names.
        failed: images that could not be read, and are not among the M.
    """

    names: list[str]
    features: Tensor
    failed: list[Failure] = field(default_factory=list)


class FeatureExtractor(TensorInferencer):
    """One vector an image, from the whole image.

    Args:
        model: as for `Inferencer`.
        pretrained: as for `Inferencer`.
        pool: 'avg' of the patch tokens, the 'cls' token, or all 'tokens'.
        options: other arguments of `Inferencer`.

    Raises:
        ValueError: an option is wrong, or there are no weights for it.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module | LoadedModel,
        pretrained: bool | str | Path = True,
        *,
        pool: Literal['avg', 'cls', 'tokens'] = 'avg',
        **options: Any,
    ) -> None:
        super().__init__(model, pretrained, **options)
        if pool not in ('avg', 'cls', 'tokens'):
            raise ValueError(f"pool must be 'avg', 'cls' or 'tokens', not {pool!r}")
        if pool == 'cls' and not self.model.encoder.num_prefix_tokens:
            raise ValueError("pool='cls' needs an encoder with_cls_token=True")
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        """(B, D), or (B, T, D)."""
        features: Tensor = self.model.extract_features(images, self.pool)
        return features

    def __call__(self, images: Pictures) -> Features:
        """Features of all images that can be read.

        Raises:
            DataError: none can be read.
        """
        return Features(*self.run(images))


def save_features(result: Features, path: Path) -> None:
    """Write features and the names of their rows, whole or not at all.

    Args:
        path: `.npz` gets the arrays `features` and `names`, `.safetensors` the tensor `features`
            and the names as JSON in its metadata, `.npy` the features, and FILE.npy.txt the names.

    Raises:
        ValueError: another suffix.
    """
    features, names = result.features, result.names
    if path.suffix == '.npz':
        with whole_file(path) as file:
            np.savez(file, features=features.numpy(), names=np.array(names))
    elif path.suffix == '.safetensors':
        with whole_file(path) as file:
            file.write(save({'features': features}, {'names': json.dumps(names)}))
    elif path.suffix == '.npy':
        with whole_file(path) as file:
            np.save(file, features.numpy())
        with whole_file(path.with_name(f'{path.name}.txt')) as file:
            # A file's name may hold bytes that are no UTF-8: they are written as they are.
            file.writelines(os.fsencode(f'{name}\n') for name in names)
    else:
        raise ValueError(f'features are written to .npy, .npz or .safetensors, not to {path}')
