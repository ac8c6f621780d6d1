"""Pipelines of mmselfsup and mmpretrain as ours, and what of them works on batches here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mae.config.imports.recipe import ImportedRecipe, type_of

_Step = dict[str, Any]
_BICUBIC = (3, 'bicubic')
_PACKING = ('PackInputs', 'PackSelfSupInputs', 'PackClsInputs', 'ToTensor', 'ImageToTensor')
_READING = ('LoadImageFromFile', 'Collect', 'NumpyToPIL', 'PILToNumpy')
_CROPS = ('RandomResizedCrop', 'RandomResizedCropAndInterpolationWithTwoPic')
_FLIPS = ('RandomFlip', 'RandomHorizontalFlip')
_TAIL: list[_Step] = [{'type': 'PackInputs'}]


@dataclass
class Pipeline:
    """A pipeline in our transforms.

    Attributes:
        steps: as a config states them.
        mean: grey levels (0 to 255) of each channel, if the pipeline normalises.
        std: the same of the deviations.
        erase: arguments of random erasing, which works on batches here.
    """

    steps: list[_Step] = field(default_factory=list)
    mean: list[float] | None = None
    std: list[float] | None = None
    erase: dict[str, Any] | None = None


def train_pipeline(steps: Sequence[_Step], recipe: ImportedRecipe, key: str) -> Pipeline:
    """Read what an image goes through in training.

    Args:
        steps: theirs.
        recipe: notes what could not be carried over.
        key: of the pipeline, for these notes.
    """
    found = Pipeline()
    for number, step in enumerate(steps):
        place, kind = f'{key}.{number}', type_of(step)
        if kind in _CROPS:
            found.steps.append(_crop(step, recipe, place))
        elif kind in _FLIPS:
            found.steps.append({'type': 'RandomFlip', 'prob': step.get('prob', step.get('p', 0.5))})
        elif kind == 'ColorJitter':
            found.steps.append({'type': kind, **{n: v for n, v in step.items() if _is_jitter(n)}})
        elif kind == 'RandAugment':
            found.steps.append(_rand_augment(step, recipe, place))
        elif kind == 'RandomErasing':
            found.erase = _erase(step, recipe, place)
        elif kind == 'RandomAug':
            _all_of_timm(step, found, recipe, place)
        else:
            _common(step, found, recipe, place)
    found.steps += _TAIL
    return found


def test_pipeline(steps: Sequence[_Step], recipe: ImportedRecipe, key: str) -> Pipeline:
    """Read what an image goes through in validation: a resize of the short side, and the centre."""
    found, short, side = Pipeline(), 0, 0
    for number, step in enumerate(steps):
        place, kind = f'{key}.{number}', type_of(step)
        if kind in ('ResizeEdge', 'Resize'):
            short = _side(step.get('scale', step.get('size', 0)))
            _note_interpolation(step, recipe, place)
        elif kind == 'CenterCrop':
            side = _side(step.get('crop_size', step.get('size', 0)))
        else:
            _common(step, found, recipe, place)
    resize: _Step = {'type': 'ResizeShort'}
    if side and short and side != short:
        resize['crop_pct'] = _round(side / short)
    found.steps = [{'type': 'DecodeImage'}, resize, {'type': 'CenterCrop'}, *_TAIL]
    return found


def _common(step: _Step, found: Pipeline, recipe: ImportedRecipe, place: str) -> None:
    """A step of training and validation alike."""
    kind = type_of(step)
    if kind == 'Normalize':
        scale = 255.0 if max(step['mean']) <= 1 else 1.0
        found.mean = [_round(scale * value) for value in step['mean']]
        found.std = [_round(scale * value) for value in step['std']]
    elif kind not in (*_READING, *_PACKING):
        recipe.leave_out(place, step, 'no transform here does this')


def _crop(step: _Step, recipe: ImportedRecipe, place: str) -> _Step:
    """In mmselfsup `scale` is the share of the area, in mmpretrain the side of the result."""
    scale = step.get('scale')
    is_share = isinstance(scale, Sequence) and max(scale) <= 1
    area = scale if is_share else step.get('crop_ratio_range', (0.08, 1.0))
    _note_interpolation(step, recipe, place)
    crop = {'type': 'DecodeRandomResizedCrop', 'scale': tuple(area or ())}
    low, high = step.get('aspect_ratio_range') or step.get('ratio') or (3 / 4, 4 / 3)
    if not (math.isclose(low, 3 / 4) and math.isclose(high, 4 / 3, rel_tol=1e-4)):
        crop['ratio'] = (low, high)
    return crop


def _note_interpolation(step: _Step, recipe: ImportedRecipe, place: str) -> None:
    if (kind := step.get('interpolation', 'bilinear')) not in _BICUBIC:
        recipe.leave_out(f'{place}.interpolation', kind, 'images are resized bicubically here')


def _rand_augment(step: _Step, recipe: ImportedRecipe, place: str) -> _Step:
    if (policies := step.get('policies')) != 'timm_increasing':
        recipe.leave_out(f'{place}.policies', policies, "timm's operations are used")
    words = ['rand', f'm{step.get("magnitude_level", 9)}']
    if (number := step.get('num_policies', 2)) != 2:
        words.append(f'n{number}')
    if std := step.get('magnitude_std'):
        words.append(f'mstd{std}')
    return {'type': 'RandAugment', 'policy': '-'.join([*words, 'inc1'])}


def _erase(step: _Step, recipe: ImportedRecipe, place: str) -> _Step:
    erase = {'prob': step.get('erase_prob', 0.5), 'mode': 'const', 'max_count': 1}
    if step.get('mode', 'const') == 'rand':
        erase['mode'] = 'pixel'
    for theirs, usual in (('min_area_ratio', 0.02), ('max_area_ratio', 1 / 3)):
        value = step.get(theirs, {'min_area_ratio': 0.02, 'max_area_ratio': 0.4}[theirs])
        if not math.isclose(value, usual):
            erase[theirs.removesuffix('_ratio')] = value
    if 'aspect_range' in step:
        recipe.leave_out(f'{place}.aspect_range', step['aspect_range'])
    return erase


def _all_of_timm(step: _Step, found: Pipeline, recipe: ImportedRecipe, place: str) -> None:
    """mmselfsup 0.x calls timm's `create_transform` for crop, flip, RandAugment and erasing."""
    found.steps += [
        {'type': 'DecodeRandomResizedCrop', 'scale': (0.08, 1.0)},
        {'type': 'RandomFlip', 'prob': 0.5},
    ]
    if policy := step.get('auto_augment'):
        found.steps.append({'type': 'RandAugment', 'policy': policy})
    elif jitter := step.get('color_jitter'):
        recipe.leave_out(f'{place}.color_jitter', jitter)
    if prob := step.get('re_prob'):
        mode, count = step.get('re_mode', 'const'), step.get('re_count', 1)
        found.erase = {'prob': prob, 'mode': mode, 'max_count': count}
    _common({'type': 'Normalize', 'mean': step['mean'], 'std': step['std']}, found, recipe, place)


def _is_jitter(name: str) -> bool:
    return name in ('brightness', 'contrast', 'saturation', 'hue')


def _side(size: Any) -> int:
    return int(max(size)) if isinstance(size, Sequence) else int(size)


def _round(value: float) -> float:
    return float(f'{value:.10g}')
