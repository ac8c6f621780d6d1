"""The guide lists every option of what a notebook calls, with its default, and no other."""

import inspect
import re
from pathlib import Path

import pytest

from mae.apis import (
    DetectionInferencer,
    FeatureExtractor,
    ImageClassifierInferencer,
    SegmentationInferencer,
    get_model,
    init_model,
    reconstruct,
)
from mae.apis.dense import DenseInferencer
from mae.apis.inference import Inferencer, TensorInferencer

GUIDE = Path(__file__).parents[2] / 'docs/en/user_guides/inference.md'


def documented():
    """By the order of the tables in the section: the default of each option, or ''."""
    section = GUIDE.read_text().partition('\n## Options\n')[2].partition('\n## ')[0]
    tables = re.split(r'^\| option[^\n]*\n', section, flags=re.MULTILINE)[1:]
    row = re.compile(r'^\| `(\w+)` \| .+ \| (?:`([^`]+)`)? ?\|$', re.MULTILINE)
    return [dict(row.findall(table)) for table in tables]


def options_of(function):
    """Defaults as the guide writes them, without `self` and `**options`."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            default = parameter.default
            found[name] = '' if default is parameter.empty else repr(default)
    return found


COMMON, FEATURES, CLASSES, MAPS, OBJECTS, GET_MODEL, INIT_MODEL, RECONSTRUCT = range(8)


def test_the_guide_has_a_table_for_each():
    assert len(documented()) == 8
    assert all(documented())


@pytest.mark.parametrize(
    ('index', 'function'),
    [
        (COMMON, Inferencer),
        (GET_MODEL, get_model),
        (INIT_MODEL, init_model),
        (RECONSTRUCT, reconstruct),
    ],
)
def test_options_are_those_of_the_signature(index, function):
    assert documented()[index] == options_of(function)


@pytest.mark.parametrize(
    ('index', 'inferencer'),
    [
        (FEATURES, FeatureExtractor),
        (CLASSES, ImageClassifierInferencer),
        (MAPS, SegmentationInferencer),
        (OBJECTS, DetectionInferencer),
    ],
)
def test_each_inferencer_adds_to_the_common_options(index, inferencer):
    both = documented()[COMMON] | documented()[index]
    assert both == options_of(Inferencer) | options_of(inferencer)
    assert list(inspect.signature(inferencer.__call__).parameters) == ['self', 'images']


def test_every_inferencer_is_in_the_guide():
    shipped = {c for c in Inferencer.__subclasses__() if c.__module__.startswith('mae.')}
    assert shipped == {TensorInferencer, DenseInferencer}
    kinds = {c for base in shipped for c in base.__subclasses__()}
    assert {c for c in kinds if c.__module__.startswith('mae.')} == {
        FeatureExtractor,
        ImageClassifierInferencer,
        SegmentationInferencer,
        DetectionInferencer,
    }
