"""Features as files."""

import json
import os
from pathlib import Path

import numpy as np
from safetensors.torch import save

from mae.apis.features import Features
from mae.utils.files import whole_file


def save_features(result: Features, path: Path) -> None:
    """Write features and the names of their rows, whole or not at all.

    Args:
        result: of a `FeatureExtractor`.
        path: `.npz` gets the arrays `features` and `names`, `.safetensors` the tensor `features`
            and the names as JSON in its metadata, `.npy` the features, and FILE.npy.txt the names.

    Raises:
        ValueError: `path` has another suffix.
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
