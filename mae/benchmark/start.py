"""CPU seconds until a command line answers: to its error of a wrong config, and to its first step.

Seconds of the processor, not of the clock: other load of the machine does not change what a start
has to do. Each start is a process of its own, with the same images and a network as small as the
config allows, so that imports and building are what is left.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mae.benchmark import OURS
from mae.benchmark.measure import machine_facts
from mae.benchmark.report import Figures, Report, build_report
from mae.benchmark.worker import reason

_WRONG_CONFIG = 'nope'
_FIRST_STEP = 'Epoch(train)'  # with a line for every step, which both print
_IMAGES = 8
_OPTIONS = {'mmpretrain': ['--no-persistent-workers']}  # its tool asks for them without workers
_OURS = """
_base_ = 'mae::mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
global_batch_size = 4
train_cfg = dict(max_epochs=1)
model = dict(
    encoder=dict(arch=dict(embed_dim=16, depth=1, num_heads=2)),
    decoder=dict(embed_dim=16, depth=1, num_heads=2),
)
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(source=dict(root={root!r}, split='train'))
)
default_hooks = dict(logger=dict(interval=1))
"""
_MMPRETRAIN = """
default_scope = 'mmpretrain'
model = dict(
    type='MAE',
    backbone=dict(
        type='MAEViT',
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=64),
        mask_ratio=0.75,
    ),
    neck=dict(
        type='MAEPretrainDecoder', embed_dim=16, decoder_embed_dim=16, decoder_depth=1,
        decoder_num_heads=2,
    ),
    head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=16, loss=dict(
        type='PixelReconstructionLoss', criterion='L2'
    )),
    data_preprocessor=dict(
        type='SelfSupDataPreprocessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4],
        to_rgb=True,
    ),
)
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='CustomDataset', data_prefix={root!r} + '/train', pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow',
             interpolation='bicubic'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackInputs'),
    ]),
)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
"""


def run(peers: Sequence[str], *, rounds: int = 5, command: str = '') -> Report:
    """Start each command line in turn, several times.

    Args:
        peers: 'mmpretrain' or nothing; its `tools/train.py` comes with it.
        rounds: figures for each system.
        command: the command line, for the report.
    """
    skipped = {
        name: 'not installed' if find_spec(name) is None else 'came without its tools'
        for name in peers
        if _tool(name) is None
    }
    for name, why in skipped.items():
        print(f'skipped {name}: {why}', flush=True)
    tools = {name: tool for name in (OURS, *peers) if (tool := _tool(name)) is not None}
    torch_seconds: list[float] = []
    errors: dict[str, list[float]] = {name: [] for name in tools}
    steps: dict[str, list[float]] = {name: [] for name in tools}
    with tempfile.TemporaryDirectory() as folder:
        configs = _write(Path(folder))
        for _ in range(rounds):
            torch_seconds.append(seconds_of_command([sys.executable, '-c', 'import torch'], folder))
            for name, tool in tools.items():
                if name in skipped:
                    continue
                start = [sys.executable, '-u', str(tool)]
                words = [*start, str(configs[name]), '--work-dir', str(Path(folder, name))]
                words += _OPTIONS.get(name, ())
                try:
                    steps[name].append(seconds_of_command(words, folder, until=_FIRST_STEP))
                except ValueError as error:
                    if name == OURS:
                        raise
                    skipped[name] = reason(error)
                    print(f'skipped {name}: {skipped[name]}', flush=True)
                    continue
                errors[name].append(seconds_of_command([*start, _WRONG_CONFIG], folder))
    return build_report(
        'start',
        {name: _figures(steps[name], errors[name]) for name in tools if name not in skipped},
        machine=machine_facts(torch.device('cpu')),
        config='a MAE 16 wide, 8 images',
        skipped=skipped,
        command=command,
        import_torch_cpu_seconds=statistics.median(torch_seconds),
    )


def seconds_of_command(words: Sequence[str], folder: str, until: str | None = None) -> float:
    """Processor seconds of a command until it prints a line that holds a text, or until it ends.

    Args:
        folder: working directory.
        until: the text; None waits for the end.

    Raises:
        ValueError: it ends without the text.
    """
    env = {'OMP_NUM_THREADS': '1', **os.environ}
    with subprocess.Popen(
        words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = ''
        for line in process.stdout:
            said = line
            if until is not None and until in line:
                seconds = _so_far(process.pid)
                process.kill()
                return seconds
        if until is not None:
            told = said.strip()[:200]
            raise ValueError(f'{" ".join(words)} ended without a step: {told}')
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0  # `wait4` has its status already
        return usage.ru_utime + usage.ru_stime


def _so_far(pid: int) -> float:
    # After the command's name, which may hold blanks: user and system time in fields 14 and 15.
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _figures(steps: list[float], errors: list[float]) -> Figures:
    return {
        'seconds_per_step': statistics.median(steps),  # by which systems are compared
        'rounds': steps,
        'first_step_cpu_seconds': statistics.median(steps),
        'error_cpu_seconds': statistics.median(errors),
    }


def _tool(name: str) -> Path | None:
    """The script that trains."""
    if name == OURS:
        path = Path(__file__).parents[2] / 'tools' / 'train.py'
    else:
        spec = find_spec(name)
        places = spec.submodule_search_locations if spec is not None else None
        path = Path(places[0], '.mim', 'tools', 'train.py') if places else Path()
    return path if path.is_file() else None


def _write(folder: Path) -> dict[str, Path]:
    """Images for all, and a config for each system."""
    images = folder / 'images' / 'train' / 'class'
    images.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(_IMAGES):
        pixels = draw.integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(pixels).save(images / f'{number}.jpg')
    configs: dict[str, Path] = {}
    for name, text in ((OURS, _OURS), ('mmpretrain', _MMPRETRAIN)):
        configs[name] = folder / f'{name}_start.py'
        configs[name].write_text(text.format(root=str(folder / 'images')))
    return configs
