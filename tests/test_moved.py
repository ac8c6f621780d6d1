"""Import paths from before modules moved give the very modules that took their place.

And both paths of a function that has the name of its module give the function.
"""

import subprocess
import sys

from mae.moved import MOVED, NAMES

CHECKPOINT = {
    'agree': 'compare_facts facts_of',
    'commit': 'POINTER Pruner commit',
    'durable': 'Digest HashedFile digest_of remove remove_stale_temporaries sync_folder '
    'write_temporary write_text',
    'fit': 'MAY_MISS MAY_REMAIN LoadReport fit_weights',
    'head': 'remap_head',
    'identity': 'NAMES MayDiffer check_same differences fingerprint identity_of',
    'inert': 'HISTORY INERT Inert inert_globals',
    'optimizer': 'restore_optimizer',
    'resume': 'Choice check_given choose_checkpoint on_main together',
    'saver': 'Saver',
    'screen': 'Refused check_growth globals_of screen',
    'snapshot': 'Snapshot',
    'space': 'check_space',
    'store': 'BEST Found list_checkpoints newest_verified numbered remove_lone_manifests set_aside '
    'set_aside_later verified',
    'writer': 'BACK_OFF Save SaveError Writer',
}

CODE = """
import importlib, sys, warnings
warnings.simplefilter('always')
for old, new in MOVED.items():
    with warnings.catch_warnings(record=True) as told:
        found = importlib.import_module(f'mae.{old}')
    assert found is importlib.import_module(f'mae.{new}'), old
    assert found.__name__ == found.__spec__.name == f'mae.{new}', old
    assert any(f'mae.{old} is mae.{new} now' in str(w.message) for w in told), old
"""


# There is no garbage in what is imported.
PRELOADED = 'import gc\ngc.disable()\nimport os, mmengine.runner, torch, torchvision'


def run(*codes):
    """Run each code in a fork of a process that has done no import of ours, only the slow ones."""
    lines = [PRELOADED, 'def run(code):\n    exec(code, {})\n    os._exit(0)']
    lines += [f'os.fork() or run({code!r})\nassert os.wait()[1] == 0' for code in codes]
    subprocess.run([sys.executable, '-c', '\n'.join(lines)], check=True)


def test_import_paths():
    run(each_old_path(), folded_files(), names_that_went_elsewhere(), *both_paths_in_any_order())


def each_old_path():
    """Old paths give the new modules."""
    return CODE.replace('MOVED', repr(MOVED))


def folded_files():
    """Files that were folded into others have their names."""
    lines = ['import warnings', 'warnings.simplefilter("ignore")']
    for room in ('engine.checkpoint', 'fault_tolerance.checkpoint'):
        for old, names in CHECKPOINT.items():
            lines += [f'from mae.{room}.{old} import {", ".join(names.split())}']
            lines += [f'from mae.{room} import {old}; {old}.{names.split()[0]}']
    return '\n'.join(lines)


def names_that_went_elsewhere():
    """Old paths give names that went to other modules."""
    lines = [
        f'from mae.{old} import {name}\nfrom mae.{room} import {new} as new\nassert {name} is new'
        for old, names in NAMES.items()
        for name, (room, _, new) in ((n, place.rpartition('.')) for n, place in names.items())
    ]
    return '\n'.join(lines)


def both_paths_in_any_order():
    """The function, not the module, whichever is imported first."""
    imports = [
        'from mae.apis import reconstruct as a',
        'from mae.apis.reconstruct import reconstruct as b',
    ]
    for order in (imports, imports[::-1]):
        yield '\n'.join([*order, 'assert a is b and callable(a)'])
