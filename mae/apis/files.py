"""Results as files: written under another name first, so that a file is whole or not there."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from mae.apis.features import Features


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file beside `path`, of the same suffix, then give it its name.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        unfinished = Path(folder, path.name)
        write(unfinished)
        with unfinished.open('rb') as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)


def save_features(result: Features, path: Path) -> None:
    """Features and the names of their rows.

    Args:
        result: of a `FeatureExtractor`.
        path: `.npz` gets the arrays `features` and `names`, `.safetensors` the tensor `features`
            and the names as JSON in its metadata, `.npy` the features, and FILE.npy.txt the names.

    Raises:
        ValueError: another suffix.
    """
    features, names = result.features, result.names
    if path.suffix == '.npz':
        write_whole(
            path, lambda part: np.savez(part, features=features.numpy(), names=np.array(names))
        )
    elif path.suffix == '.safetensors':
        facts = {'names': json.dumps(names)}
        write_whole(path, lambda part: save_file({'features': features}, part, facts))
    elif path.suffix == '.npy':
        lines = ''.join(f'{name}\n' for name in names)
        write_whole(path, lambda part: np.save(part, features.numpy()))
        write_whole(
            path.with_name(f'{path.name}.txt'),
            lambda part: part.write_text(lines, encoding='utf-8'),
        )
    else:
        raise ValueError(f'features are written to .npy, .npz or .safetensors, not to {path}')
