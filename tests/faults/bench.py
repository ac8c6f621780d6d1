"""The runs that are disturbed: tiny trainings on the digits, started as a user starts them."""

import json
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.process import Forked, Spawned

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds after which a run counts as hung

# Colours, though of grey digits: the patch projection of such images lies in memory as no other
# weight does.
_COMMON = """
model = dict(
    preprocessor=dict(mean=[78.0] * 3, std=[96.0] * 3),
    encoder=dict(in_channels=3, arch=dict(embed_dim=16, depth=2, num_heads=2)))
_pipeline = [
    dict(type='DecodeImage'), dict(type='RandomShift', pixels=1), dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(pipeline=_pipeline))
env_cfg = dict(dist_cfg=dict(timeout=60))
custom_imports = dict(imports=['tests.faults.inside'])
"""
# Segmentation and detection of scenes: all that a transform may move, levels with batch norms,
# windows. 3 steps an epoch of 24 scenes.
_DENSE = f"""
_base_ = '{ROOT}/configs/demo/vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'
_encoder = dict(
    type='DenseViTEncoder', arch=dict(embed_dim=16, depth=4, num_heads=2), img_size=32,
    patch_size=4, in_channels=1, final_norm=False, drop_path_rate=0.1)
_preprocessor = dict(type='DensePreprocessor', mean=[20.0], std=[60.0])
_scenes = dict(type='DigitScenes', img_size=32, digits=(1, 3), sizes=(10, 16))
_jitter = [
    dict(type='LargeScaleJitter', size=32, scale=(0.6, 1.5)), dict(type='RandomFlip'),
    dict(type='RandomBlur'), dict(type='Pad', size=32), dict(type='PackDense')]
_common = dict(_delete_=True, num_workers=0, collate_fn=dict(type='collate_dense'))
global_batch_size = 8
env_cfg = dict(dist_cfg=dict(timeout=60))
custom_imports = dict(imports=['tests.faults.inside'])
custom_hooks = [dict(type=name) for name in ('PhaseHook', 'FaultHook', 'RecordHook')]
"""


def _loaders(task):
    return f"""
train_dataloader = dict(
    _common, batch_size=8, sampler=dict(type='GlobalBatchSampler'),
    dataset=dict(type='SeededDataset', pipeline=_jitter,
                 source=dict(_scenes, split='train', num_scenes=24, task={task!r})))
val_dataloader = dict(
    _common, batch_size=3, sampler=dict(type='ShardSampler'),
    dataset=dict(type='SeededDataset', pipeline=[dict(type='PackDense')],
                 source=dict(_scenes, split='val', num_scenes=6, task={task!r})))
test_dataloader = val_dataloader
"""


# Pre-training: 11 steps an epoch. Fine-tuning has the rest that is random or has a memory: drop
# path, mixup, an average of the weights, validation, a best checkpoint; 12 steps an epoch.
_CONFIGS = {
    'mae': f"""
_base_ = '{ROOT}/configs/demo/mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'
{_COMMON}
model['decoder'] = dict(embed_dim=16, num_heads=2)
global_batch_size = 128
train_dataloader['batch_size'] = 128
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=8)
default_hooks = dict(checkpoint=dict(interval=3, by='iter'), logger=dict(interval=5))
custom_hooks = [dict(type=name) for name in ('PhaseHook', 'FaultHook', 'RecordHook')]
""",
    # The head's BatchNorm has statistics that each process takes from its own images.
    'probe': f"""
_base_ = '{ROOT}/configs/demo/vit-mini-p4_linear-1xb128-coslr-30e_digits-16.py'
{_COMMON}
global_batch_size = 128
train_dataloader['batch_size'] = 128
val_dataloader = dict(
    batch_size=90, dataset=dict(pipeline=[dict(type='DecodeImage'), dict(type='PackInputs')]))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=4)
default_hooks = dict(checkpoint=dict(interval=3, by='iter'), logger=dict(interval=5))
custom_hooks = [dict(type='PhaseHook'), dict(type='FaultHook')]
""",
    # The smallest: 11 steps an epoch of 16 images.
    'soak': f"""
_base_ = '{ROOT}/configs/demo/mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'
{_COMMON}
model['encoder']['arch'] = dict(embed_dim=8, depth=1, num_heads=1)
model['decoder'] = dict(embed_dim=8, num_heads=1)
global_batch_size = 16
train_dataloader['batch_size'] = 16
train_dataloader['dataset']['source'] = dict(
    _delete_=True, type='Subset', per_class=18,
    source=dict(type='Digits', split='train', img_size=16))
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(checkpoint=dict(interval=100, by='iter'), logger=dict(interval=11))
custom_hooks = [dict(type=name) for name in ('PhaseHook', 'FaultHook', 'RecordHook')]
""",
    # Counted in steps: 14, a validation every 5.
    'seg': f"""
{_DENSE}
model = dict(
    _delete_=True, type='Segmenter', preprocessor=_preprocessor, taps=[0, 1, 2, 3],
    encoder=dict(_encoder, rel_pos='table', layer_scale=1.0),
    neck=dict(type='LevelsNeck'), head=dict(type='UPerHead', num_classes=11, width=8),
    auxiliary=dict(type='FCNHead', num_classes=11, width=8),
    loss=dict(type='PixelCrossEntropyLoss'))
{_loaders('maps')}
val_evaluator = dict(_delete_=True, type='MeanIoU')
test_evaluator = val_evaluator
param_scheduler = dict(_delete_=True, type='WarmupPolyLR', warmup=3)
train_cfg = dict(_delete_=True, type='TrainLoop', max_epochs=None, max_steps=14, val_interval=5)
default_hooks = dict(
    checkpoint=dict(interval=4, by='iter', save_best='miou'), logger=dict(interval=5))
""",
    # 12 steps.
    'det': f"""
{_DENSE}
model = dict(
    _delete_=True, type='Detector', preprocessor=_preprocessor, taps=[3],
    encoder=dict(
        _encoder, with_cls_token=False, window_size=3, global_blocks=[1, 3], rel_pos='axes'),
    neck=dict(type='SimplePyramid', channels=16),
    rpn=dict(type='RPN', sizes=[4, 8, 16, 24, 32], samples=32),
    roi=dict(type='RoIHead', num_classes=10, width=8, hidden=16, samples=16))
{_loaders('instances')}
val_evaluator = dict(_delete_=True, type='AveragePrecision')
test_evaluator = val_evaluator
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=5, by='iter'), logger=dict(interval=5))
""",
    'ft': f"""
_base_ = '{ROOT}/configs/demo/vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'
{_COMMON}
model['encoder']['drop_path_rate'] = 0.3
model['preprocessor']['mixup'] = dict(
    mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=10)
global_batch_size = 48
train_dataloader['batch_size'] = 48
train_dataloader['dataset']['source'] = dict(per_class=60)
val_dataloader = dict(
    batch_size=90, dataset=dict(pipeline=[dict(type='DecodeImage'), dict(type='PackInputs')]))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=6, val_interval=1)
default_hooks = dict(checkpoint=dict(
    interval=3, by='iter', by_epoch=None, save_best='top1'), logger=dict(interval=5))
custom_hooks = [
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1),
    dict(type='PhaseHook'),
    dict(type='FaultHook'),
]
""",
}


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: hash of its weights, its seconds, and those until its first step."""

    sha256: str
    seconds: float
    begin: float


class Bench:
    """Starts runs, and knows how each would have ended.

    Args:
        folder: for configs, work dirs and what undisturbed runs gave.
        resume: trust what undisturbed runs gave the last time.
    """

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            shutil.rmtree(self.folder / 'undisturbed', ignore_errors=True)
        self.configs = {}
        for kind, text in _CONFIGS.items():
            self.configs[kind] = self.folder / f'{kind}.py'
            self.configs[kind].write_text(text)
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._made: set[str] = set()
        self._references: dict[str, Reference] = {}

    def line(self, kind, work_dir, *arguments, processes=1, workers=0, options=(), launched=False):
        """The command line of a run of a kind, or of a config file.

        Args:
            launched: by `tools/dist_train.sh`, one process too.
        """
        launched = launched or processes > 1
        words = [self.configs.get(kind, kind)]
        words += [processes] if launched else []
        words += ['--work-dir', work_dir, *arguments]
        options = [*options, *([f'train_dataloader.num_workers={workers}'] if workers else [])]
        words += ['--cfg-options', *options] if options else []
        first = (
            [ROOT / 'tools/dist_train.sh']
            if launched
            else [sys.executable, ROOT / 'tools/train.py']
        )
        return [str(word) for word in (*first, *words)]

    def start(self, line, log, *, fault=None, record=False, quick=False, env=None):
        """Start a command line.

        Args:
            line: of `python FILE ...` or of a shell script.
            log: file for what it says.
            fault: what shall happen in it, see `inside.py`.
            record: note the samples, keys and masks of each step.
            quick: fork a process that has done the imports, instead of starting Python.
            env: more variables of the environment.
        """
        env = {**(env or {}), 'MAE_FAULT': json.dumps(fault or {})}
        env |= {'MAE_FAULT_TRACE': f'{log}.trace', 'MAE_FAULT_RECORD': '1' if record else ''}
        return (Forked if quick else Spawned)(line, log, env)

    def run(self, line, log, *, patience=PATIENCE, **options):
        """Start a command line and wait; its exit status."""
        return self.start(line, log, **options).wait(patience)

    def reference(self, kind, *, processes=1, options=(), quick=False):
        """What an undisturbed run gives; the first who asks runs it, the others wait."""
        words = [kind, f'{processes}x', *map(str, options), *(['quick'] if quick else [])]
        name = '-'.join(words).replace('/', '_').replace('=', '')
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._references:
                self._references[name] = self._undisturbed(
                    name, kind, processes=processes, options=options, quick=quick
                )
            return self._references[name]

    def once(self, name, make):
        """What `make(folder)` has put into a folder of this name, the first time."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            folder = self.folder / 'once' / name
            if name not in self._made:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                make(folder)
                self._made.add(name)
            return folder

    def _undisturbed(self, name, kind, *, quick, **details):
        work_dir = self.folder / 'undisturbed' / name
        file = work_dir / 'reference.json'
        if file.is_file():
            return Reference(**json.loads(file.read_text()))
        work_dir.parent.mkdir(exist_ok=True)
        start = time.monotonic()
        process = self.start(self.line(kind, work_dir, **details), f'{work_dir}.log', quick=quick)
        wait_until_running(process, work_dir)
        begin = time.monotonic() - start
        code = process.wait(PATIENCE)
        seconds = time.monotonic() - start
        state = state_of(work_dir)
        if code or state.get('state') != 'finished':
            raise RuntimeError(f'an undisturbed run failed: see {work_dir}.log')
        found = Reference(state['weights_sha256'], seconds, begin)
        file.write_text(json.dumps(found.__dict__))
        return found


def wait_until_running(process, work_dir):
    """Until the first step begins, or the process has ended."""
    while process.is_alive() and state_of(work_dir).get('state') in (None, 'starting'):
        time.sleep(0.01)


def state_of(work_dir):
    """`run.json` of a work dir, {} if there is none."""
    try:
        return json.loads((work_dir / 'run.json').read_text())
    except OSError:
        return {}


def losses_of(work_dir):
    """(step, loss) of each line of the newest scalars, which hold the whole run."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'))
    lines = map(json.loads, newest.read_text().splitlines())
    return [(line['step'], line['loss']) for line in lines if 'loss' in line]


def tail(log, lines=12):
    """The last lines of a log, for a report."""
    text = Path(log).read_text(errors='replace') if os.path.exists(log) else ''
    return '\n'.join(text.splitlines()[-lines:])
