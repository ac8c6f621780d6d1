"""What a checkpoint states about how it was trained, for a model card."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mae.utils.digest import weights_sha256
from mae.utils.dotted_keys import node_at
from mae.zoo.index import find_entry

# Of what anybody may have written, a card shows short names and numbers: no markup, no paths.
_NAME = re.compile(r'[\w.+-]{1,100}')
_ROWS = (
    ('algorithm', 'model.type'),
    ('masker', 'model.masker.type'),
    ('target', 'model.target.type'),
    ('global batch', 'global_batch_size'),
    ('base learning rate', 'base_lr'),
    ('optimizer', 'optim_wrapper.optimizer.type'),
    ('mixed precision', 'optim_wrapper.amp'),
    ('seed', 'randomness.seed'),
)
_VERSIONS = ('mae', 'torch')
_PUBLISHER = 'published by'
_START = {  # of the weights that training started from
    'started from': 'file',
    'SHA-256 of those weights': 'weights_sha256',
    'pre-training of those weights': 'pretraining',
}
_RANDOM = 'random weights'
_OTHER_ROWS = ('data', 'epochs', 'steps', *_START, *(f'version of {name}' for name in _VERSIONS))
# What was stored may have been written by anybody, too.
_CELL = re.compile(rf'[\w.+-]{{1,100}}( of \d{{1,9}})?|{_RANDOM}')
_SOURCE = re.compile(r'[\w .,:()/+-]{0,100}')
_MOST_CHANGES = 50


@dataclass(frozen=True)
class Training:
    """How weights were trained, as far as it is stated.

    Attributes:
        rows: name to value, for a table.
        algorithm: class that they were trained in, such as 'MAE'; '' if it is not stated.
        pretraining: algorithm by which the weights that training started from were pre-trained;
            '' if it is not stated.
        metric: name of the validation metric that chose the best checkpoint, and its best value in
            the run so far; None if there is none.
        bits: of a pixel of the images, 8 or 16.
        license: SPDX identifier of the weights' licence; '' if it is not stated.
        source: who published them; '' if it is not stated.
        changes: what was done to the weights since, a line each.
    """

    rows: Mapping[str, str] = field(default_factory=dict)
    algorithm: str = ''
    pretraining: str = ''
    metric: tuple[str, float] | None = None
    bits: int = 8
    license: str = ''
    source: str = ''
    changes: Sequence[str] = ()

    def stored(self) -> dict[str, Any]:
        """For a file's metadata, which `stored_training` reads; empty if nothing is known."""
        is_known = self.rows or self.metric or self.license or self.changes or self.bits != 8
        return asdict(self) if is_known else {}


def stored_training(stored: Mapping[str, Any], changes: Sequence[str] = ()) -> Training:
    """What an earlier conversion stored, of which anything but short names and numbers is left out.

    Args:
        stored: as `Training.stored` gave it; anything else states nothing.
        changes: what was done to the weights since then, a line each.
    """
    source = _matching(_SOURCE, stored.get('source'))
    names = (*(name for name, _ in _ROWS), *_OTHER_ROWS)
    rows = {_PUBLISHER: source} if source else {}
    rows |= {name: _matching(_CELL, node_at(stored.get('rows'), name)) for name in names}
    before = [line for line in _listed(stored.get('changes')) if isinstance(line, str)]
    name, best, *_ = *_listed(stored.get('metric')), None, None
    return Training(
        rows={name: value for name, value in rows.items() if value},
        algorithm=_matching(_NAME, stored.get('algorithm')),
        pretraining=_matching(_NAME, stored.get('pretraining')),
        metric=_metric(name, best),
        bits=16 if stored.get('bits') == 16 else 8,
        license=_matching(_NAME, stored.get('license')),
        source=source,
        changes=[*before[:_MOST_CHANGES], *changes],
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ''


def training_of(
    meta: Any,
    *,
    bits: int = 8,
    license_: str = '',
    source: str = '',
    changes: Sequence[str] = (),
) -> Training:
    """Read what the `meta` of a checkpoint states.

    Args:
        meta: that of a run of this toolbox; anything else states nothing.
        bits: of a pixel of the images, 8 or 16.
        license_: SPDX identifier of the weights' licence.
        source: who published them.
        changes: what was done to the weights since, a line each.
    """
    meta = meta if isinstance(meta, Mapping) else {}
    config = meta.get('cfg')
    rows = {_PUBLISHER: source} if source else {}
    rows |= {name: _shown(node_at(config, key)) for name, key in _ROWS}
    rows['data'] = _shown(_data(node_at(config, 'train_dataloader.dataset.source')))
    rows['epochs'] = _progress(meta.get('epoch'), node_at(config, 'train_cfg.max_epochs'))
    rows['steps'] = _shown(meta.get('step'))
    versions = meta.get('versions')
    rows |= start_rows(meta)
    for name in _VERSIONS:
        rows[f'version of {name}'] = _shown(node_at(versions, name))
    return Training(
        rows={name: value for name, value in rows.items() if value},
        algorithm=_shown(node_at(config, 'model.type')).split('.')[-1],
        pretraining=_shown(node_at(meta, 'started_from.pretraining')),
        metric=_metric(node_at(config, 'default_hooks.checkpoint.save_best'), meta.get('best')),
        bits=bits,
        license=license_,
        source=source,
        changes=changes,
    )


def start_of(checkpoint: Mapping[str, Any], path: Path) -> dict[str, str]:
    """What the checkpoints of a run state, under `started_from`, about the weights it starts from.

    Args:
        checkpoint: content of their file, from `mae.zoo.formats.load_weights`.
        path: of their file or folder.

    Returns:
        `file`, its name; `weights_sha256`, by `mae.utils.digest.weights_sha256`, which is that of
        `run.json` of a run that ended with these weights; and `pretraining`, 'MAE' if the
        checkpoint or the index of published weights says so, else ''.
    """
    weights, published = checkpoint['state_dict'], find_entry(path.name)
    is_mae = (
        any(name.startswith('decoder.') for name in weights)
        or 'decoder_num_heads' in checkpoint['facts']  # the file may hold its encoder alone
        or (published is not None and published.file == path.name)
    )
    earlier = _shown(node_at(checkpoint.get('meta'), 'started_from.pretraining'))
    return {
        'file': path.name,
        'weights_sha256': weights_sha256(weights),
        'pretraining': 'MAE' if is_mae else earlier,
    }


def start_rows(meta: Mapping[str, Any]) -> dict[str, str]:
    """What the `meta` of a checkpoint states about the weights that its run started from.

    Returns:
        Name to value, for a table; empty if it states nothing.
    """
    start = meta.get('started_from')
    if 'started_from' in meta and start is None:
        return {'started from': _RANDOM}
    rows = {name: _shown(node_at(start, key)) for name, key in _START.items()}
    return {name: value for name, value in rows.items() if value}


def _shown(value: Any) -> str:
    """A number or short name; '' for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return f'{value:g}'
    return _matching(_NAME, value)


def _data(source: Any) -> Any:
    """The type of the innermost source: what others choose from is the data set."""
    while isinstance(inner := node_at(source, 'source'), Mapping):
        source = inner
    return node_at(source, 'type')


def _progress(epoch: Any, epochs: Any) -> str:
    done, total = _shown(epoch), _shown(epochs)
    if not (done and total):
        return ''  # a run by iterations counts no epochs
    return done if done == total else f'{done} of {total}'


def _metric(name: Any, best: Any) -> tuple[str, float] | None:
    is_named = isinstance(name, str) and re.fullmatch(r'[\w./-]{1,60}', name)
    if is_named and isinstance(best, float) and math.isfinite(best):
        return str(name), best
    return None
