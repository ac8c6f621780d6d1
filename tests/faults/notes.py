"""What a disturbed run leaves for the harness."""

import json
import os
from pathlib import Path

RANK = int(os.environ.get('RANK', '0'))


def note(name, value, *, append=False):
    """Leave a value for the harness."""
    rank = os.environ.get('RANK', '0')  # of a fork another than `RANK`
    path = Path(f'{os.environ["MAE_FAULT_TRACE"]}{rank}.{name}')
    with path.open('a' if append else 'w') as file:
        file.write(json.dumps(value) + '\n')


def notes(log, name, rank=0):
    """What a run has left under a name: the values, in order."""
    path = Path(f'{log}.trace{rank}.{name}')
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
