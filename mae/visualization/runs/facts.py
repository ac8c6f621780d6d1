"""What a run's config says for its report."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MASKED = 'MAE'


def kind_of(config: Mapping[str, Any]) -> str:
    """The class of the model, which says what a run learns."""
    return str((config.get('model') or {}).get('type', 'model')).rpartition('.')[2]


def seed_of(config: Mapping[str, Any]) -> int | None:
    """Of everything random in the run; None if it is drawn."""
    seed = (config.get('randomness') or {}).get('seed')
    return seed if isinstance(seed, int) else None


def commands_of(config: Mapping[str, Any], file: Path, work_dir: Path) -> list[tuple[str, str]]:
    """What to do with a run, and the command; CHECKPOINT stands for its newest one.

    Args:
        config: of the run.
        file: where it lies, all values in it.
        work_dir: of the run.
    """
    place, folder = shlex.quote(str(file)), shlex.quote(str(work_dir))
    found = [
        (
            'Train it again, in another folder:',
            f'mae train {place} --work-dir {shlex.quote(f"{work_dir}-again")}',
        ),
        ('Continue it after a stop:', f'mae train {place} --work-dir {folder} --resume'),
        ('Make this page anew:', f'mae report {folder}'),
    ]
    if kind_of(config) == _MASKED:
        found += [
            (
                'See what it fills in, in images of yours:',
                f'mae reconstruct {place} CHECKPOINT IMAGE.jpg',
            ),
            ('Fine-tune its encoder on class folders:', 'mae finetune DATA --from CHECKPOINT'),
        ]
    if config.get('test_dataloader'):
        found.append(('Evaluate it:', f'mae test {place} CHECKPOINT'))
    return found
