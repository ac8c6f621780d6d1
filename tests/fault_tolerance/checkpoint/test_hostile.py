"""Files that would run code when they are read: none does, and each is refused in one line.

Every gadget would write a canary file. The same pickle is tried at the top of a file, deep in an
optimizer's state, in the formats of torch and as a plain pickle.
"""

import builtins
import codecs
import copyreg
import functools
import hashlib
import io
import json
import operator
import os
import pickle
import struct
import subprocess
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook

from mae.fault_tolerance.checkpoint import load_checkpoint
from mae.fault_tolerance.checkpoint.safe_pickle import Placeholder
from mae.utils import trust
from mae.utils.errors import CheckpointError


class Call:
    """Pickles as `function(*arguments)`, with an optional state set afterwards."""

    def __init__(self, function, *arguments, state=None):
        self.result = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.result


class Stateful:
    """Runs its state when it is set: `__setstate__` of a class that a file names."""

    def __setstate__(self, state):
        os.system(state)

    def __reduce_ex__(self, protocol):
        return copyreg.__newobj__, (Stateful,), self.state


def stateful(command):
    gadget = Stateful()
    gadget.state = command
    return gadget


GADGETS = {
    'os.system': lambda c: Call(os.system, f'touch {c}'),
    'os.popen': lambda c: Call(os.popen, f'touch {c}'),
    'os.mknod': lambda c: Call(os.mknod, str(c)),
    'subprocess.Popen': lambda c: Call(subprocess.Popen, ['touch', str(c)]),
    'subprocess.check_output': lambda c: Call(subprocess.check_output, ['touch', str(c)]),
    'eval': lambda c: Call(eval, f'open({str(c)!r}, "w")'),
    'exec': lambda c: Call(exec, f'open({str(c)!r}, "w")'),
    'open': lambda c: Call(open, str(c), 'w'),
    'compile': lambda c: Call(compile, f'open({str(c)!r}, "w")', 'x', 'exec'),
    '__import__': lambda c: Call(builtins.__import__, 'antigravity'),
    'getattr of a tensor class': lambda c: Call(getattr, torch.Tensor, 'tofile'),
    'functools.partial': lambda c: Call(functools.partial(os.system, f'touch {c}')),
    'operator.methodcaller': lambda c: Call(operator.methodcaller('touch'), Path(c)),
    'operator.attrgetter': lambda c: Call(operator.attrgetter('touch'), Path(c)),
    'map': lambda c: Call(list, Call(map, os.system, [f'touch {c}'])),
    'torch.load of bytes': lambda c: Call(
        torch.storage._load_from_bytes, pickle.dumps(Call(os.system, f'touch {c}'))
    ),
    'torch.load': lambda c: Call(torch.load, io.BytesIO()),
    'torch.hub.load': lambda c: Call(torch.hub.load, str(c), 'model'),
    'torch.save': lambda c: Call(torch.save, [1], str(c)),
    'pickle.loads': lambda c: Call(pickle.loads, pickle.dumps(Call(os.system, f'touch {c}'))),
    'numpy object array': lambda c: np.array([Call(os.system, f'touch {c}')], dtype=object),
    'numpy.save': lambda c: Call(np.save, f'{c}', [1]),
    'numpy.load': lambda c: Call(np.load, str(c)),
    '__setstate__': lambda c: stateful(f'touch {c}'),
    'state of a known class': lambda c: Call(
        OrderedDict, state={'x': Call(os.system, f'touch {c}')}
    ),
    'copyreg': lambda c: Call(copyreg._reconstructor, Stateful, object, None),
    'codecs.decode': lambda c: Call(exec, Call(codecs.decode, 'cnff', 'rot13')),
    'pathlib': lambda c: Call(Path.touch, Path(c)),
    'Config from a string': lambda c: Call(Config.fromstring, f'open({str(c)!r}, "w")', '.py'),
    'Config with code': lambda c: Call(Config._file2dict, str(c)),
    'rebuild with a function': lambda c: Call(
        torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (f'touch {c}',), {}
    ),
    'rebuild of a wrapper class': lambda c: Call(
        torch._utils._rebuild_wrapper_subclass, Stateful, None, (1,), (1,), 0, 0, 'cpu', False
    ),
    'storage from a file': lambda c: Call(torch.UntypedStorage.from_file, str(c), True, 8),
    'typed storage from a file': lambda c: Call(torch.FloatStorage.from_file, str(c), True, 8),
    'bytearray that fills the memory': lambda c: Call(bytearray, 1 << 40),
    'tensor that fills the memory': lambda c: Call(torch.FloatTensor, 1 << 40),
    'a named method of mmengine': lambda c: Call(EMAHook, 'x'),
    'torch.compile': lambda c: Call(torch.compile, os.system),
    'runpy': lambda c: Call(__import__('runpy').run_path, str(c)),
    'webbrowser': lambda c: Call(__import__('webbrowser').open, str(c)),
    'logging.config': lambda c: Call(__import__('logging.config').config.dictConfig, {}),
}  # fmt: skip


def at_the_top(gadget):
    return gadget


def in_meta(gadget):
    return {'state_dict': {'w': torch.zeros(2)}, 'meta': {'step': 1, 'cfg': gadget}}


def in_the_optimizer(gadget):
    state = {0: {'exp_avg': torch.zeros(2), 'deep': [({'x': (gadget,)},)]}}
    return {'state_dict': {'w': torch.zeros(2)}, 'optimizer': {'state': state}}


def in_the_weights(gadget):
    return OrderedDict(w=torch.zeros(2), evil=gadget)


def as_zip(content, path):
    torch.save(content, path)


def as_zip_of_protocol_4(content, path):
    torch.save(content, path, pickle_protocol=4)


def as_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


def as_pickle_of_protocol_0(content, path):
    path.write_bytes(pickle.dumps(content, protocol=0))


@pytest.fixture
def canary(tmp_path):
    return tmp_path / 'canary'


def refusal(path, canary):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
    message = str(caught.value)
    assert not [*canary.parent.glob('canary*')]
    assert '\n' not in message
    assert message.startswith(str(path))
    assert len(message) < 600
    return message


WAYS = [
    (at_the_top, as_zip),
    (in_meta, as_zip),
    (in_the_optimizer, as_zip_of_protocol_4),
    (in_the_weights, as_legacy),
    (at_the_top, as_pickle),
    (in_meta, as_pickle_of_protocol_0),
]


@pytest.mark.parametrize('name', GADGETS)
def test_gadgets(tmp_path, canary, name):
    written = 0
    for number, (place, write) in enumerate(WAYS):
        path = tmp_path / f'{number}.pth'
        try:
            write(place(GADGETS[name](canary)), path)
        except (TypeError, pickle.PicklingError, AttributeError):
            continue  # this format cannot hold it
        written += 1
        message = refusal(path, canary)
        assert 'refused: it asks to run ' in message
        assert f'--trust-checkpoint {trust_hash(path)} (trust_checkpoint in Python) runs' in message
    assert written >= 3


def trust_hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_there_are_enough_of_them():
    assert len(GADGETS) >= 25


# --- pickles by hand, for opcodes that Python does not write itself ---------------------------

HISTORY = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
BY_HAND = {
    'getattr chain': b'\x80\x02c__builtin__\ngetattr\nc__builtin__\neval\nX\x01\0\0\0x\x86R)R.',
    'getattr of a module': b'\x80\x02c__builtin__\ngetattr\nc__main__\nos\nX\x06\0\0\0system\x86R.',
    'getattr of an inert class': b'\x80\x02c__builtin__\ngetattr\n'
    + HISTORY
    + b'X\4\0\0\0mean\x86R)R.',
    'getattr beside an inert class': b'\x80\x02' + HISTORY + b'c__builtin__\ngetattr\n'
    b'ccollections\nOrderedDict\nX\4\0\0\0mean\x86R.',
    'state for an inert class': HISTORY + b'(dS"x"\ncos\nsystem\nsb.',
    'types.FunctionType': b'ctypes\nFunctionType\n(I1\n(dtR.',
    'torch.ops.load_library': b'ctorch\nops.load_library\n(S"CANARY"\ntR.',
    'INST': b'(S"touch CANARY"\nios\nsystem\n.',
    'OBJ': b'(cos\nsystem\nS"touch CANARY"\no.',
    'python 2 name': b'c__builtin__\neval\n(S\'open("CANARY", "w")\'\ntR.',
    'STACK_GLOBAL': b'\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x0ctouch CANARY\x85R.',
    'STACK_GLOBAL of the memo': b'\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93.',
    'extension': b'\x80\x02\x82\x01.',
    'dotted name': b'\x80\x04\x8c\x02os\x8c\x0bpath.os.foo\x93.',
    'after a first pickle': b'N.cos\nsystem\n(S"touch CANARY"\ntR.',
    'without an end': b'cos\nsystem\n(S"touch CANARY"\ntR',
    'reduce of a plain value': b'\x80\x02ccollections\nOrderedDict\n)R)R.',
}  # fmt: skip


@pytest.mark.parametrize('name', BY_HAND)
@pytest.mark.parametrize('as_archive', [False, True])
def test_pickles_by_hand(tmp_path, canary, name, as_archive):
    code = BY_HAND[name].replace(b'CANARY', str(canary).encode())
    path = tmp_path / 'x.pth'
    if as_archive:
        write_zip(path, {'x/data.pkl': code, 'x/version': b'3\n', 'x/byteorder': b'little'})
    else:
        path.write_bytes(code)
    refusal(path, canary)


# --- archives ---------------------------------------------------------------------------------


def write_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def members_of(content):
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


WEIGHTS = {'state_dict': {'w': torch.arange(10.0)}}


@pytest.mark.parametrize('prefix', ['', 'archive/', '/'])
def test_paths_that_leave_the_archive(tmp_path, canary, prefix):
    members = {**members_of(WEIGHTS), f'{prefix}../../../..{canary}': b'x'}
    write_zip(tmp_path / 'x.pth', members)
    if prefix == 'archive/':  # nothing is unpacked to the disk: the name does no harm
        found = load_checkpoint(tmp_path / 'x.pth')
        assert torch.equal(found['state_dict']['w'], WEIGHTS['state_dict']['w'])
        assert not canary.exists()
    else:
        refusal(tmp_path / 'x.pth', canary)


def test_storage_whose_key_is_a_path(tmp_path, canary):
    members = members_of(WEIGHTS)
    (name,) = [name for name in members if name.endswith('data.pkl')]
    key = f'../../..{canary}'.encode()
    plain, evil = b'X\x01\x00\x00\x000', b'X' + struct.pack('<I', len(key)) + key
    assert plain in members[name]
    members[name] = members[name].replace(plain, evil)
    write_zip(tmp_path / 'x.pth', members)
    refusal(tmp_path / 'x.pth', canary)


@pytest.mark.parametrize('count', [1000, 1 << 31, 1 << 40])
def test_storage_that_claims_more_than_it_has(tmp_path, canary, count):
    members = members_of(WEIGHTS)
    (name,) = [name for name in members if name.endswith('data.pkl')]
    number = pickle.dumps(count, 2)[2:-1]
    assert members[name].count(b'K\n') == 2  # of the storage, of the shape
    members[name] = members[name].replace(b'K\n', number)
    write_zip(tmp_path / 'x.pth', members)
    refusal(tmp_path / 'x.pth', canary)


def test_shape_beyond_its_storage(tmp_path, canary):
    members = members_of(WEIGHTS)
    (name,) = [name for name in members if name.endswith('data.pkl')]
    head, tail = members[name].rsplit(b'K\n', 1)
    members[name] = head + b'M\xe8\x03' + tail
    write_zip(tmp_path / 'x.pth', members)
    refusal(tmp_path / 'x.pth', canary)


def test_bomb(tmp_path, canary):
    path = tmp_path / 'x.pth'
    zeros = {**members_of(WEIGHTS), 'archive/data/99': bytes(50 << 20)}
    write_zip(path, zeros, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert 'would unpack to' in refusal(path, canary)


def test_what_is_two_things_at_once(tmp_path, canary):
    """A pickle with a harmless archive behind it, and an archive that begins like none."""
    archive = io.BytesIO()
    torch.save(WEIGHTS, archive)
    path = tmp_path / 'x.pth'
    path.write_bytes(pickle.dumps(Call(os.system, f'touch {canary}'), 2) + archive.getvalue())
    assert 'asks to run posix.system' in refusal(path, canary)
    path.write_bytes(b'PK\x03\x04' + pickle.dumps(Call(os.system, f'touch {canary}'), 2))
    refusal(path, canary)


def test_torchscript(tmp_path, canary):
    path = tmp_path / 'x.pth'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert 'TorchScript' in refusal(path, canary)


def test_legacy_tar(tmp_path, canary):
    path = tmp_path / 'x.pth'
    with tarfile.open(path, 'w') as archive:
        for name in ('storages', 'tensors', 'pickle', f'../..{canary}'):
            data = pickle.dumps(Call(os.system, f'touch {canary}'), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert 'tar archive' in refusal(path, canary)


# --- safetensors ------------------------------------------------------------------------------


def safetensors(path, header, data=b'\0' * 8, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text) if size is None else size) + text + data)
    return path


def entry(start=0, end=8, shape=(2,), dtype='F32'):
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': [start, end]}


BROKEN = {
    'header longer than the file': ({'w': entry()}, 1 << 20),
    'header of 2^60 bytes': ({'w': entry()}, 1 << 60),
    'overlapping': ({'w': entry(), 'v': entry(4, 8, (1,))}, None),
    'beyond the end': ({'w': entry(0, 800, (200,))}, None),
    'shape that does not fit': ({'w': entry(shape=(1 << 40, 1 << 40))}, None),
    'negative': ({'w': entry(-8, 8)}, None),
    'unknown type': ({'w': entry(dtype='posix.system')}, None),
    'no JSON': (b'__import__("os").system("touch canary")', None),
    'deep': (b'[' * 100_000, None),
    'empty': ({}, None),
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_safetensors(tmp_path, canary, name):
    header, size = BROKEN[name]
    refusal(safetensors(tmp_path / 'x.safetensors', header, size=size), canary)


def test_code_in_the_metadata_is_text(tmp_path, canary):
    code = f'__import__("os").system("touch {canary}")'
    header = {'__metadata__': {'config': code, '__reduce__': code}, 'w': entry()}
    found = load_checkpoint(safetensors(tmp_path / 'x.safetensors', header))
    assert torch.equal(found['state_dict']['w'], torch.zeros(2))
    assert not canary.exists()


def test_a_pickle_called_safetensors(tmp_path, canary):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(pickle.dumps(Call(os.system, f'touch {canary}')))
    refusal(path, canary)


# --- what is allowed --------------------------------------------------------------------------


def test_config_strings_are_never_evaluated(tmp_path, canary):
    text = f'__import__("os").system("touch {canary}")'
    meta = {'step': 1, 'cfg': text, 'config': text, 'mmengine_version': '0.10.7'}
    torch.save({**WEIGHTS, 'meta': meta}, tmp_path / 'x.pth')
    assert load_checkpoint(tmp_path / 'x.pth')['meta'] == meta
    assert not canary.exists()


def test_a_pickled_config_is_inert(tmp_path, canary):
    config = Config({'a': 1}, cfg_text=f'open({str(canary)!r}, "w")')
    torch.save({**WEIGHTS, 'meta': {'cfg': config, 'part': config._cfg_dict}}, tmp_path / 'x.pth')
    found = load_checkpoint(tmp_path / 'x.pth')['meta']
    assert type(found['cfg']) is Placeholder
    assert found['part'] == {'a': 1}
    assert type(found['part']) is dict
    assert not canary.exists()


def test_a_trusted_file_runs(tmp_path, canary, monkeypatch):
    monkeypatch.setattr(trust, '_trusted', set())
    path, other = tmp_path / 'x.pth', tmp_path / 'y.pth'
    content = {**WEIGHTS, 'meta': Call(os.system, f'touch {canary}')}
    torch.save(content, path)
    torch.save({**content, 'more': 1}, other)
    trust.trust_checkpoint(trust_hash(path).upper())
    refusal(other, canary)
    load_checkpoint(path)
    assert canary.exists()


@pytest.mark.parametrize('value', ['', 'yes', '0' * 63, 'g' * 64])
def test_trust_needs_a_hash(value):
    with pytest.raises(ValueError, match='takes the 64 hexadecimal digits'):
        trust.trust_checkpoint(value)


@pytest.mark.parametrize('legacy', [False, True])
def test_tensor_larger_than_what_is_stored(tmp_path, canary, legacy):
    path = tmp_path / 'x.pth'
    vast = torch.zeros(1).expand(1 << 40)
    for content in ({'x': vast}, {**WEIGHTS, 'optimizer': [{0: vast}]}):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        assert 'would unpack to' in refusal(path, canary)


def test_lists_that_hold_themselves(tmp_path):
    inner = []
    inner.append(inner)
    for _ in range(60):
        inner = [inner, inner]
    torch.save({**WEIGHTS, 'meta': inner}, tmp_path / 'x.pth')
    assert load_checkpoint(tmp_path / 'x.pth')['state_dict'].keys() == {'w'}
