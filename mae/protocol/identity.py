"""Telling apart what looks alike: weights by their bytes, runs by all that decides them."""

import hashlib
import json
from pathlib import Path

from mmengine.config import Config

from mae.utils.digest import file_digest

_KNOWN: dict[tuple[Path, int], str] = {}


def run_hash(config: Config, seed: int, weights: Path | None) -> str:
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
        _KNOWN[key] = file_digest(path)
    return _KNOWN[key]
