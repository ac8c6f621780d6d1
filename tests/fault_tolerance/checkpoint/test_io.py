import argparse
import datetime
import os
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from safetensors.torch import save_file

from mae.fault_tolerance.checkpoint import load_checkpoint, save_checkpoint
from mae.fault_tolerance.checkpoint.safe_pickle import Placeholder
from mae.utils.errors import CheckpointError


class Gadget:
    """A pickle of it runs a command when it is read without care."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f'touch {self.canary}',)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert '\n' not in message
    assert str(path) in message
    return message


def test_round_trip(tmp_path):
    checkpoint = {'state_dict': {'w': torch.randn(3)}, 'meta': {'step': 3, 'cfg': {'a': [1, None]}}}
    save_checkpoint(checkpoint, tmp_path / 'a.pth')
    found = load_checkpoint(tmp_path / 'a.pth')
    assert torch.equal(found['state_dict']['w'], checkpoint['state_dict']['w'])
    assert found['meta'] == checkpoint['meta']
    assert {path.name for path in tmp_path.iterdir()} == {'a.pth', 'a.pth.json'}


@pytest.mark.parametrize('write', ['zip', 'legacy', 'pickle'])
def test_code_is_refused_by_name_and_not_run(tmp_path, write):
    path, canary = tmp_path / 'evil.pth', tmp_path / 'canary'
    content = {'state_dict': {'w': torch.zeros(2)}, 'meta': Gadget(canary)}
    if write == 'pickle':
        path.write_bytes(pickle.dumps(content['meta'], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == 'zip')
    message = refusal(path)
    assert not canary.exists()
    assert 'posix.system' in message


def test_refuses_what_is_no_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    assert refusal(path).startswith('no such checkpoint')
    path.write_bytes(b'')
    refusal(path)
    path.write_bytes(b'<html>404 not found</html>' * 20)
    refusal(path)
    torch.save([1, 2], path)
    assert 'holds a list' in refusal(path)
    refusal_of_folder = tmp_path / 'folder.pth'
    refusal_of_folder.mkdir()
    refusal(refusal_of_folder)


@pytest.mark.parametrize('share', [0.1, 0.5, 0.99])
def test_truncated(tmp_path, share):
    path = tmp_path / 'a.pth'
    save_checkpoint({'state_dict': {'w': torch.randn(10000)}}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refusal(path)


def test_safetensors(tmp_path):
    path, weights = tmp_path / 'a.safetensors', {'w': torch.randn(300)}
    save_file(weights, path)
    assert torch.equal(load_checkpoint(path)['state_dict']['w'], weights['w'])
    path.write_bytes(path.read_bytes()[:-100])
    refusal(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    save_checkpoint({'w': torch.ones(2)}, path)

    def full(content, file):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match='No space left'):
        save_checkpoint({'w': torch.zeros(2)}, path)
    monkeypatch.undo()
    assert torch.equal(load_checkpoint(path)['w'], torch.ones(2))
    assert {path.name for path in tmp_path.iterdir()} == {'a.pth', 'a.pth.json'}


@pytest.mark.parametrize('key', ['state_dict', 'model', None])
def test_weights_under_usual_names(tmp_path, key):
    path, weights = tmp_path / 'x.pth', {'a': torch.ones(1), 'note': 'text'}
    torch.save({key: weights} if key else weights, path)
    assert load_checkpoint(path)['state_dict'] == {'a': torch.ones(1)}
    torch.save({'meta': 1, 'optimizer': {'lr': 0.1}}, path)
    message = refusal(path)
    assert message.startswith(f'{path} holds no weights')
    assert message.endswith(' meta, optimizer')


@pytest.mark.parametrize('legacy', [False, True])
def test_command_lines_and_hyperparameters_are_inert(tmp_path, monkeypatch, legacy):
    """As timm, the authors and Lightning save them; nothing of them is imported or called."""
    module = types.ModuleType('lightning.fabric.utilities.data')
    module.AttributeDict = type('AttributeDict', (dict,), {'__module__': module.__name__})
    for name in ('lightning', 'lightning.fabric', 'lightning.fabric.utilities'):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    hyper = module.AttributeDict(lr=0.1, root=Path('data'))
    arguments = argparse.Namespace(
        lr=0.1, output_dir=Path('runs'), started=datetime.datetime.now(),
        took=datetime.timedelta(3), hyper=hyper,
    )  # fmt: skip
    content = {'args': arguments, 'torch': torch.__version__, 'hyper_parameters': hyper}
    torch.save(
        {**content, 'state_dict': {'w': torch.ones(2)}, 'metric': np.float64(3)},
        tmp_path / 'a.pth', _use_new_zipfile_serialization=not legacy,
    )  # fmt: skip
    monkeypatch.undo()
    found = load_checkpoint(tmp_path / 'a.pth')
    assert torch.equal(found['state_dict']['w'], torch.ones(2))
    assert {type(found[key]) for key in ('args', 'torch', 'metric')} == {Placeholder}
    assert found['hyper_parameters']['lr'] == 0.1


def test_training_checkpoint_of_mmengine(tmp_path):
    """Its loss history and numpy numbers are inert; weights and plain values are what they were."""
    hub = MessageHub.get_instance('test-of-a-checkpoint')
    for step in range(3):
        hub.update_scalar('train/loss', torch.tensor(1.0 / (step + 1)))
    hub.update_info('best_score', np.float64(81.5))
    content = {
        'meta': {'epoch': 3, 'iter': 12, 'cfg': 'model = dict(type="MAE")', 'seed': np.int64(3)},
        'state_dict': OrderedDict(w=torch.randn(3)),
        'message_hub': hub.state_dict(),
        'optimizer': {'state': {}, 'param_groups': [ConfigDict(lr=0.1, betas=(0.9, 0.95))]},
    }
    torch.save(content, tmp_path / 'epoch_3.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    found = load_checkpoint(tmp_path / 'epoch_3.pth')
    assert torch.equal(found['state_dict']['w'], content['state_dict']['w'])
    assert found['meta']['iter'] == 12
    assert found['meta']['cfg'] == 'model = dict(type="MAE")'
    assert found['optimizer']['param_groups'] == [{'lr': 0.1, 'betas': (0.9, 0.95)}]
    assert type(found['message_hub']['log_scalars']['train/loss']) is Placeholder
