import json
import math

import numpy as np
import pytest
import torch

from mae.utils import strict_json
from mae.utils.files import write_json

NUMBERS = {'loss': math.nan, 'best': [1.5, math.inf], 'worst': {'of': (-math.inf, 2)}}


def refuse(word):
    raise ValueError(f'{word} is not JSON')


def test_what_is_not_finite_becomes_a_word():
    text = strict_json.dumps(NUMBERS)
    found = json.loads(text, parse_constant=refuse)
    assert found == {'loss': 'NaN', 'best': [1.5, 'Infinity'], 'worst': {'of': ['-Infinity', 2]}}
    assert math.isnan(float(found['loss']))
    assert float(found['worst']['of'][0]) == -math.inf


@pytest.mark.parametrize('value', [np.float32('nan'), np.float64('nan'), torch.tensor(torch.nan)])
def test_numbers_of_libraries_are_numbers(value):
    assert strict_json.dumps({'a': value, 'b': [value]}) == '{"a": "NaN", "b": ["NaN"]}'
    assert strict_json.dumps(np.float32(0.5)) == '0.5'


def test_numbers_come_back():
    found = strict_json.loads_numbers(strict_json.dumps(NUMBERS))
    assert math.isnan(found['loss'])
    assert found['best'] == [1.5, math.inf]
    assert found['worst'] == {'of': [-math.inf, 2]}
    assert strict_json.loads_numbers('{"name": "Nan", "old": NaN}')['name'] == 'Nan'


@pytest.mark.parametrize('value', [{'a': [1, 2.5, None, True, 'x']}, [], 'NaN', 1e308])
def test_everything_else_is_as_json_writes_it(value):
    assert strict_json.dumps(value, indent=2) == json.dumps(value, indent=2)


def test_files_are_strict(tmp_path):
    write_json(tmp_path / 'a.json', NUMBERS)
    json.loads((tmp_path / 'a.json').read_text(), parse_constant=refuse)
