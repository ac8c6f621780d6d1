"""Frozen models of timm and transformers whose features can be predicted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mae.models.targets.teachers.base import Teacher
from mae.models.targets.teachers.timm import TimmTeacher
from mae.models.targets.teachers.transformers import TransformersTeacher


def teacher_of(
    name: str, checkpoint: str | None, pretrained: bool, options: Mapping[str, Any] | None
) -> Teacher:
    """The teacher of a config, a model of timm or of transformers; see `FeatureTarget`.

    Raises:
        ValueError: there is no such teacher, or a folder comes with arguments that are for timm.
    """
    folder = Path(name).expanduser()
    if not (folder / 'config.json').is_file():
        return TimmTeacher(name, checkpoint, pretrained=pretrained, options=options)
    if checkpoint is not None or pretrained or options:
        raise ValueError(
            f'target.teacher={name!r} is a folder with its own weights: it takes neither '
            'checkpoint, pretrained nor options, which are for models of timm'
        )
    return TransformersTeacher(folder)
