"""Pictures of every kind, whole and broken, in a training and in `tools/data/verify.py`."""

import json
import sys
from pathlib import Path

from tests.faults import pictures
from tests.faults.bench import ROOT, state_of
from tests.faults.scene import Scene

_CASES = [('train', 0), ('train', 2), ('verify', 0), ('verify', 2)]
_BATCH = 8
_CONFIG = """
_base_ = {base!r}
model = dict(
    preprocessor=dict(mean=[78.0] * 3, std=[96.0] * 3), encoder=dict(in_channels=3))
global_batch_size = {batch}
train_dataloader = dict(batch_size={batch}, dataset=dict(
    source=dict(_delete_=True, type='ImageFolder', root={root!r}, index_cache=False),
    pipeline=[
        dict(type='DecodeRandomResizedCrop', size=16),
        dict(type='PackInputs')]))
param_scheduler = dict(warmup_epochs=0)
train_cfg = dict(max_epochs=1)
default_hooks = dict(bad_samples=dict(max_bad_fraction=1.0))
"""


def look_at(trial):
    """Exactly the bad ones are reported; a case is a picture."""
    what, workers = _CASES[trial.number]
    root = trial.folder / 'photos'
    names = _fill(root)
    if what == 'train':
        reported = _trained(trial, root, workers)
    else:
        reported = _verified(trial, root, workers)
    bad = {name for name in names if Path(name).name.startswith('bad')}
    wrong = {name for name in names if (name in reported) != (name in bad)}
    trial.facts |= {'by': f'{what}, {workers} workers', 'bad': len(bad)}
    told = ', '.join(f'{name} {"not " * (name in bad)}reported' for name in sorted(wrong))
    trial.facts['why'] = told
    return len(names) - len(wrong), len(names)


def _fill(root):
    """Names of all pictures below `root`, as many as fill whole batches."""
    folder = root / 'class0'
    pictures.write_good(root / 'class1', 30)
    folder.mkdir()
    pictures.write_odd(folder)
    pictures.write_bad(folder)
    pictures.write_loop(folder)
    missing = -len(_names(root)) % _BATCH
    pictures.write_good(folder, missing)
    return _names(root)


def _names(root):
    paths = (path for path in root.rglob('*') if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(root)) for path in paths}


def _trained(trial, root, workers):
    config = trial.folder / 'photos.py'
    base = str(trial.bench.configs['mae'])
    config.write_text(_CONFIG.format(base=base, batch=_BATCH, root=str(root)))
    trial.run(trial.bench.line(config, trial.work_dir, workers=workers), quick=True)
    trial.check(state_of(trial.work_dir).get('state') == 'finished', 'it did not finish')
    lines = (trial.work_dir / 'bad_samples.jsonl').read_text().splitlines()
    return {str(Path(json.loads(line)['path']).relative_to(root)) for line in lines}


def _verified(trial, root, workers):
    out = trial.folder / 'quarantine.txt'
    tool = ROOT / 'tools/data/verify.py'
    line = [sys.executable, tool, root, '--workers', workers, '--out', out]
    trial.run([*map(str, line)], code=1, quick=workers == 0)
    lines = out.read_text().splitlines()
    return {_relative(json.loads(line)['path'], root) for line in lines}


def _relative(path, root):
    return str(Path(path).relative_to(root)) if Path(path).is_absolute() else path


SCENES = [
    Scene(
        'images',
        'pictures of every kind, whole and broken: read, or replaced and reported',
        look_at,
        full=len(_CASES),
        short=(1,),
    )
]
