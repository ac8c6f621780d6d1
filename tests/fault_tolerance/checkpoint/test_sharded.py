"""Checkpoints that all processes write: whole, read anywhere, and read without their code."""

import pickle
import re
import shutil
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.metadata import (
    _MEM_FORMAT_ENCODING,
    BytesStorageMetadata,
    Metadata,
)

from mae.fault_tolerance.checkpoint import (
    choose_checkpoint,
    load_checkpoint,
    read_model,
    verified,
)
from mae.fault_tolerance.checkpoint.background import SaveError
from mae.fault_tolerance.checkpoint.folder import (
    check_checkpoint,
    remove_lone_manifests,
    set_aside_final,
)
from mae.fault_tolerance.checkpoint.hook import write_weights_of
from mae.fault_tolerance.checkpoint.manifest import (
    Damaged,
    folder_record,
    manifest_path,
    read_manifest,
    verify_checkpoint,
    verify_folder,
)
from mae.fault_tolerance.checkpoint.parts import Parts
from mae.fault_tolerance.checkpoint.save import Pruner, settle
from mae.fault_tolerance.checkpoint.save_group import SaveGroup
from mae.fault_tolerance.checkpoint.sharded_load import load_sharded
from mae.fault_tolerance.checkpoint.sharded_save import save_sharded
from mae.utils.digest import weights_sha256
from mae.utils.errors import CheckpointError
from mae.utils.files import digest_of, remove_stale_temporaries
from tests.fault_tolerance.checkpoint.test_hostile import BY_HAND, GADGETS
from tests.faults.calls import Calls, cut, failing, flip_bit

pytestmark = pytest.mark.filterwarnings('ignore:torch.distributed is disabled')


def content(step):
    """A checkpoint of a few numbers, with all kinds of values and keys."""
    weights = {'a.weight': torch.arange(12.0).view(3, 4) + step, 'mean': torch.ones(()) * step}
    return {
        'meta': {'step': step, 'epoch': step // 5, 'best': None, 'cfg': {'a': [1, None, 0.5]}},
        'state_dict': weights,
        'optimizer': {
            'state': {0: {'step': torch.tensor(float(step)), 'exp_avg': torch.ones(3, 4) / 3}},
            'param_groups': [{'betas': (0.9, 0.95), 'params': [0]}],
        },
        'param_schedulers': [{'last_step': step}],
    }


def write(folder, step, pruner=None, start=None):
    path = folder / f'iter_{step}.dcp'
    save_sharded(
        Parts.of(content(step)), path, SaveGroup(60), lambda r: settle(r, path, pruner, start)
    )
    return path


def plain(value):
    """With lists in place of tensors."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path, 20)
    found = load_sharded(path)
    del found['proof']
    assert plain(found) == plain(content(20))
    names = sorted(file.name for file in path.iterdir())
    assert names == ['.metadata', '__0_0.distcp', 'values.pth']
    assert read_manifest(path).weights_sha256 == weights_sha256(content(20)['state_dict'])
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)
    assert [found.step for found in verified(tmp_path)] == [20]
    assert plain(read_model(path)['state_dict']) == plain(content(20)['state_dict'])


def test_torch_reads_it_too(tmp_path):
    path = write(tmp_path, 20)
    dcp_to_torch_save(path, tmp_path / 'one.pth')
    found = torch.load(tmp_path / 'one.pth')
    assert found['state_dict.a.weight'].equal(content(20)['state_dict']['a.weight'])
    assert str(tmp_path) not in str((path / '.metadata').read_bytes())  # no path of this machine


def test_the_final_weights(tmp_path):
    folder, final = write(tmp_path / 'other', 20), tmp_path / 'final.pth'
    write_weights_of(folder, final)
    found = load_checkpoint(final)
    assert plain(found['state_dict']) == plain(content(20)['state_dict'])
    assert 'optimizer' not in found
    assert set_aside_final(tmp_path, 20) is None
    assert set_aside_final(tmp_path, 25) == 'final.pth.superseded'
    assert set_aside_final(tmp_path, 25) is None
    write_weights_of(folder, final)
    write(tmp_path, 15, start=10)  # another continuation
    assert not final.exists()
    assert read_manifest(tmp_path / 'final.pth.superseded2').content.step == 20
    (tmp_path / 'final.pth.json').touch()
    assert remove_lone_manifests(tmp_path) == ['final.pth.json']
    wrong = r'final\.pth could not be saved: .*No space left.*iter_20\.dcp is whole'
    with failing('fsync'), pytest.raises(SaveError, match=wrong):
        write_weights_of(folder, final)
    assert not list(tmp_path.glob('*final.pth'))


# --- killed, full, damaged --------------------------------------------------------------------


def restart(folder):
    """What the next process does; returns the step that it goes on from."""
    remove_stale_temporaries(folder)
    remove_lone_manifests(folder)
    lines = []
    choice = choose_checkpoint(folder, 5, lines.append)
    assert not lines
    assert plain(load_sharded(choice.path)['state_dict']) in map(
        plain, (content(step)['state_dict'] for step in (15, 20))
    )
    assert all(manifest_path(path).exists() for path in folder.glob('*.dcp'))
    assert all(path.with_suffix('').is_dir() for path in folder.glob('*.json'))
    return int(choice.path.stem[5:])


@pytest.mark.parametrize('name', ['new', 'same name'])
def test_killed_at_any_system_call(tmp_path, name):
    before = tmp_path / 'before'
    pruner = Pruner(2)
    for step in (5, 10, 15):
        write(before, step, pruner)
    if name == 'same name':
        shutil.copytree(before / 'iter_15.dcp', before / 'iter_20.dcp')
        shutil.copy(before / 'iter_15.dcp.json', before / 'iter_20.dcp.json')
    with Calls() as calls:
        write(shutil.copytree(before, tmp_path / 'whole'), 20, Pruner(2))
    assert set(calls.seen) >= {'open', 'write', 'fsync', 'close', 'replace'}
    # All but the writes, of which torch makes hundreds: of these some.
    numbers = [n for n, call in enumerate(calls.seen) if call != 'write' or n % 97 == 0]
    seen = set()
    for number in numbers:
        folder = shutil.copytree(before, tmp_path / str(number))
        with suppress(RuntimeError, OSError), Calls(kill_at=number + 1) as dying:
            write(folder, 20, Pruner(2))
        assert dying.dead
        seen.add(restart(folder))
        shutil.rmtree(folder)
    assert seen == {15, 20}


def test_a_full_disk_leaves_nothing(tmp_path):
    write(tmp_path, 15)
    before = sorted(tmp_path.iterdir())
    for name in ('write', 'fsync', 'replace'):
        with failing(name, after_bytes=100), pytest.raises(OSError, match='No space left'):
            write(tmp_path, 20)
        assert sorted(tmp_path.iterdir()) == before
    write(tmp_path, 20)
    before = sorted(tmp_path.iterdir())
    hidden = tmp_path / '.iter_20.dcp'

    def last(source, target):
        return str(source).startswith(str(hidden)) and target == tmp_path / 'iter_20.dcp'

    with failing('replace', only=last), pytest.raises(OSError, match='No space left'):
        write(tmp_path, 20)  # one of that name is there: it stays
    assert sorted(tmp_path.iterdir()) == before
    verify_checkpoint(tmp_path / 'iter_20.dcp')


def _cut(folder):
    cut(folder / '__0_0.distcp', 0.5)


def _flip(folder):
    flip_bit(folder / '__0_0.distcp', 8 * 700)


def _flip_values(folder):
    flip_bit(folder / 'values.pth', 8 * 300)


def _without_metadata(folder):
    (folder / '.metadata').unlink()


def _mixed(folder):
    shutil.copy(folder.with_name('iter_15.dcp') / '__0_0.distcp', folder)


def _without_manifest(folder):
    manifest_path(folder).unlink()


def _a_file(folder):
    shutil.rmtree(folder)
    folder.write_bytes(b'')


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (_cut, r'__0_0.distcp has \d+ bytes of \d+'),
        (_flip, 'the SHA-256 of __0_0.distcp is not that of its manifest'),
        (_flip_values, 'the SHA-256 of values.pth'),
        (_without_metadata, '.metadata is missing'),
        (_mixed, 'the SHA-256 of __0_0.distcp'),
        (_without_manifest, 'has no manifest .* copy it too'),
        (_a_file, 'is not what its manifest describes'),
    ],
)
def test_a_damaged_one_is_passed_over(tmp_path, damage, said):
    for step in (15, 20):
        write(tmp_path, step)
    damage(tmp_path / 'iter_20.dcp')
    with pytest.raises(CheckpointError, match=rf'{said}.*; the newest good one .*iter_15.dcp'):
        check_checkpoint(tmp_path / 'iter_20.dcp', print)
    lines = []
    choice = choose_checkpoint(tmp_path, 5, lines.append)
    assert choice.path.name == 'iter_15.dcp'
    assert choice.verified
    (line,) = lines
    assert re.search(said, line)
    assert line.endswith('set aside as iter_20.dcp.corrupt')
    with pytest.raises(CheckpointError):
        load_sharded(tmp_path / 'iter_20.dcp.corrupt')


def test_several_processes_hash_each_file_once(tmp_path):
    path = write(tmp_path, 20)
    choice = choose_checkpoint(tmp_path, 5, print, processes=2)
    assert (choice.verified, choice.is_to_hash) == (False, True)
    flip_bit(path / '__0_0.distcp', 8 * 700)
    for part in range(3):
        with pytest.raises(Damaged, match=r'__0_0\.distcp') if part == 1 else nullcontext():
            verify_folder(path, part, 3)


# --- a `.metadata` that wants code ------------------------------------------------------------


def rewrite(path, index):
    """Give a checkpoint another `.metadata`, with a manifest that fits."""
    content = index if isinstance(index, bytes) else pickle.dumps(index)
    (path / '.metadata').write_bytes(content)
    manifest = read_manifest(path)
    files = {**manifest.files, '.metadata': digest_of(path / '.metadata')}
    changed = replace(manifest, files=files, content=folder_record(files, step=20))
    manifest_path(path).write_text(changed.to_json())


def index_of(path):
    return pickle.loads((path / '.metadata').read_bytes())  # noqa: S301 (our own)


def _elsewhere(index):
    for place in index.storage_data.values():
        place.relative_path = '../secret'


def _bytes_item(index):
    index.state_dict_metadata['optimizer'] = BytesStorageMetadata()


def _extension(index):
    for place in index.storage_data.values():
        place.transform_descriptors = ['zstd']


def _huge(index):
    tensor = index.state_dict_metadata['state_dict.a.weight']
    tensor.size = tensor.chunks[0].sizes = torch.Size([10**12, 4])


def _gap(index):
    index.state_dict_metadata['state_dict.a.weight'].chunks[0].sizes = torch.Size([2, 4])


def _beyond(index):
    for place in index.storage_data.values():
        place.length += 10**6


def _without_one(index):
    del index.state_dict_metadata['state_dict.mean']


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (_elsewhere, 'which is no file of the folder'),
        (_bytes_item, 'refused: it asks to unpickle optimizer, which is no tensor'),
        (_extension, 'refused: it asks to run an extension'),
        (_huge, r'longer than its place'),
        (_gap, 'state_dict.a.weight is not there as a whole'),
        (_beyond, 'bytes of __0_0.distcp, which has'),
        (_without_one, 'is of two checkpoints'),
    ],
)
def test_a_metadata_that_lies_is_refused(tmp_path, change, said):
    path = write(tmp_path, 20)
    index = index_of(path)
    change(index)
    rewrite(path, index)
    verify_checkpoint(path)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_sharded(path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', [*GADGETS, *BY_HAND])
def test_a_metadata_that_wants_code_is_refused(tmp_path, name):
    canary = tmp_path / 'canary'
    path = write(tmp_path, 20)
    if name in BY_HAND:
        code = BY_HAND[name].replace(b'CANARY', str(canary).encode())
    else:
        index = index_of(path)
        index.planner_data = GADGETS[name](canary)
        try:
            code = pickle.dumps(index)
        except (TypeError, pickle.PicklingError, AttributeError):
            pytest.skip('cannot be pickled')
    rewrite(path, code)
    for read in (load_sharded, read_model):
        with pytest.raises(CheckpointError, match=r'refused|is not readable') as caught:
            read(path)
        assert '\n' not in str(caught.value)
    assert not canary.exists()
    assert not hasattr(Metadata, 'x')


def test_members_of_enums_pickled_by_name(tmp_path, monkeypatch):
    """As Python 3.11.0 to 3.11.3 does."""
    path = write(tmp_path, 20)
    before = load_sharded(path)
    index = index_of(path)

    def by_name(member, protocol):
        return getattr, (type(member), member.name)

    monkeypatch.setattr(_MEM_FORMAT_ENCODING, '__reduce_ex__', by_name)
    code = pickle.dumps(index)
    assert b'getattr' in code
    rewrite(path, code)
    assert weights_sha256(load_sharded(path)['state_dict']) == weights_sha256(before['state_dict'])


def test_getattr_of_anything_else_is_refused(tmp_path):
    path = write(tmp_path, 20)
    rewrite(path, b'\x80\x04cbuiltins\ngetattr\nctorch\nfloat32\nX\x08\0\0\0itemsize\x86R.')
    with pytest.raises(CheckpointError, match='refused: it asks to run getattr'):
        load_sharded(path)


def test_a_metadata_cannot_change_a_class(tmp_path):
    path = write(tmp_path, 20)
    code = b'\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\nN}U\x01xI1\ns\x86b.'
    rewrite(path, code)
    with pytest.raises(CheckpointError, match='is not readable'):
        load_sharded(path)
    assert not hasattr(Metadata, 'x')
