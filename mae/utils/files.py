"""Small files that are whole or absent, whenever the process is killed."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, *, flush: bool = True) -> None:
    """Write under another name, then rename.

    Args:
        path: of the file; what it held before stays until the new text is whole.
        value: what JSON can say.
        flush: wait until it is on disk, so that it outlasts a power failure too.

    Raises:
        OSError: the disk refused.
    """
    temporary = path.with_name(f'.{path.name}')
    with temporary.open('w', encoding='utf-8') as file:
        file.write(json.dumps(value, indent=2) + '\n')
        file.flush()
        if flush:
            os.fsync(file.fileno())
    temporary.replace(path)
