"""One contract per kind of part: whatever is registered in its package must keep it."""

import inspect

import mae.models
from mae.registry import MODELS


def registered(package):
    """Classes registered by `mae.models.<package>`."""
    assert mae.models
    root = f'mae.models.{package}'
    found = MODELS.module_dict.items()
    return {name: part for name, part in found if part.__module__.startswith(root)}


PACKAGES = {
    'masker_type': 'masking',
    'encoder_type': 'encoders',
    'decoder_type': 'decoders',
    'target_type': 'targets',
    'loss_type': 'losses',
    'head_type': 'heads',
}


def pytest_generate_tests(metafunc):
    for fixture in PACKAGES.keys() & set(metafunc.fixturenames):
        parts = registered(PACKAGES[fixture])
        if fixture == 'head_type':  # those of dense tasks read levels of a neck, not tokens
            parts = {
                name: part
                for name, part in parts.items()
                if 'channels' not in inspect.signature(part).parameters
            }
        assert parts, f'nothing is registered in mae.models.{PACKAGES[fixture]}'
        metafunc.parametrize(fixture, parts.values(), ids=parts.keys())
