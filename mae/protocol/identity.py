"""Telling apart what looks alike: weights by their bytes, runs by all that decides them."""

import hashlib
import json
from pathlib import Path

from mmengine.config import Config

_CHUNK = 1 << 20
_KNOWN: dict[tuple[Path, int], str] = {}


def identity_of(config: Config, seed: int, weights: Path | None) -> str:
    """Of a run: the same for the same result, whatever config and folder are called."""
    text = json.dumps([config.to_dict(), seed], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    if weights is not None:
        digest.update(sha256_of(weights).encode())
    return digest.hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Hex digest of a file, which is read once."""
    key = (path.resolve(), path.stat().st_mtime_ns)
    if key not in _KNOWN:
        digest = hashlib.sha256()
        with path.open('rb') as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        _KNOWN[key] = digest.hexdigest()
    return _KNOWN[key]
