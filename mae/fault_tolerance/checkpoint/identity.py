"""What decides the samples of a run and what it learns: with others, it would be another run."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from mae.utils.errors import CheckpointError, ConfigError

MayDiffer = Literal[
    'seed', 'global_batch_size', 'num_samples', 'steps_per_epoch', 'dataset', 'teacher'
]
NAMES: tuple[str, ...] = get_args(MayDiffer)
_LOOKED_AT = 4096  # samples, evenly spread


def identity_of(runner: Any) -> dict[str, Any]:
    """Seed, global batch, steps of an epoch, number and fingerprint of the samples, teacher.

    The model may have `get_fingerprint()`: the hash of a frozen teacher's weights, or None.
    """
    loader = runner.train_dataloader
    sampler = loader.batch_sampler
    return {
        'seed': runner.seed,
        'global_batch_size': getattr(sampler, 'global_batch_size', None),  # of mmengine: unknown
        'num_samples': getattr(sampler, 'num_samples', len(loader.dataset)),
        'steps_per_epoch': len(loader),  # a last, small batch may need fewer processes
        'dataset': fingerprint(loader.dataset),
        'teacher': getattr(runner.bare_model, 'get_fingerprint', lambda: None)(),
    }


def differences(then: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """What has changed, in words, by name; what an older checkpoint does not tell is left out."""
    found = {
        name: f'{name} was {then[name]} and is {here} now'
        for name, here in now.items()
        if then.get(name) is not None and here is not None and then[name] != here
    }
    if found.keys() & {'global_batch_size', 'num_samples'}:
        found.pop('steps_per_epoch', None)  # follows from them
    return found


def check_same(
    then: dict[str, Any], now: dict[str, Any], path: Any, anyway: Sequence[str] = ()
) -> list[str]:
    """Refuse to continue with other samples or another teacher.

    Args:
        then: `identity_of` the run that was saved.
        now: of this one.
        path: of the checkpoint, for messages.
        anyway: names of what may differ all the same.

    Returns:
        What differs and may.

    Raises:
        CheckpointError: something else differs; says how.
        ConfigError: `anyway` names what there is not.
    """
    unknown = sorted(set(anyway) - set(NAMES))
    if unknown:
        raise ConfigError(f'resume_anyway takes {", ".join(NAMES)}, not {", ".join(unknown)}')
    changed = differences(then, now)
    refused = [name for name in changed if name not in anyway]
    if refused:
        samples = 'learn something else' if refused == ['teacher'] else 'see other samples'
        raise CheckpointError(
            f'{path} cannot be resumed: {"; ".join(changed[name] for name in refused)}, so the '
            f'run would {samples}; restore it, start anew with --load-from, or accept it '
            f'with --resume-anyway {" ".join(changed)}'
        )
    return list(changed.values())


def fingerprint(dataset: Any) -> str | None:
    """Sixteen digits that tell one data set from another, wherever it lies.

    Of some thousand samples, evenly spread: label, and the last two parts of the path, or the image
    itself if it is in memory. Nothing is read from the disk.

    Args:
        dataset: with `get_data_info`, or with a `source` that has it.

    Returns:
        Hexadecimal digits; None for a dataset that cannot be asked.
    """
    source = getattr(dataset, 'source', dataset)
    if not hasattr(source, 'get_data_info'):
        return None
    found = hashlib.sha256(f'{len(source)}'.encode(errors='surrogateescape'))
    count = min(len(source), _LOOKED_AT)
    for number in range(count):
        info = source.get_data_info(number * len(source) // count)
        path = str(info.get('img_path', '')).replace('\\', '/')
        found.update(
            f'{"/".join(path.split("/")[-2:])} {info.get("gt_label")}\n'.encode(
                errors='surrogateescape'
            )
        )
        if 'img' in info:
            found.update(np.ascontiguousarray(info['img']).tobytes())
    return found.hexdigest()[:16]
