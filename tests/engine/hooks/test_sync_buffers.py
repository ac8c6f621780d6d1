"""The probe's BatchNorm on two processes: after the hook both validate with the same statistics."""

import json
import subprocess
import sys

from mae.apis import load_config

SCRIPT = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import torch
import torch.distributed as dist
from mmengine.hooks import SyncBuffersHook
dist.init_process_group('gloo')
rank = dist.get_rank()
norm = torch.nn.BatchNorm1d(2, affine=False, momentum=1.0).double()
norm(torch.tensor([[0.0, 1.0], [2.0, 5.0]], dtype=torch.float64) * (rank + 1))
SyncBuffersHook().after_train_epoch(SimpleNamespace(model=norm))
found = [*norm.running_mean.tolist(), *norm.running_var.tolist(), int(norm.num_batches_tracked)]
Path(sys.argv[1], f'{rank}.json').write_text(json.dumps(found))
dist.destroy_process_group()
"""


def test_statistics_are_averaged(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    subprocess.run([*command, script, tmp_path], check=True)
    mean, var = [1.5, 4.5], [2.0 * 2.5, 8.0 * 2.5]  # (1 + 2) / 2 and (1 + 4) / 2 of one's own
    found = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)]
    assert found == [[*mean, *var, 1]] * 2


def test_probes_have_the_hook():
    config = load_config('vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k')
    assert [hook.type for hook in config.custom_hooks] == ['SyncBuffersHook']
