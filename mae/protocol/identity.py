"""Hashes that identify weights by their bytes, and runs by all that their result depends on."""

import hashlib
import json
from pathlib import Path

from mmengine.config import Config

from mae.utils.digest import file_digest

_KNOWN: dict[tuple[Path, int], str] = {}


def run_hash(config: Config, seed: int, weights: Path | None) -> str:
    """Hash of a run's merged config, seed and weights; names of files and folders play no part."""
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
