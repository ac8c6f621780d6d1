"""`--load-from` and tools/test.py take every format; tools/converters/publish_model.py."""

from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch
import yaml

from mae.apis import convert, init_model, load_config
from mae.engine.checkpoint import load_weights

FACTS = dict(num_heads=2, decoder_num_heads=4)


@pytest.mark.parametrize('to', ['timm', 'transformers', 'mmpretrain'])
def test_fine_tuning_starts_from_any_format(to, train, checkpoint, tmp_path, work_dir):
    source = checkpoint()
    start = tmp_path / ('start' if to == 'transformers' else 'start.pth')
    convert(source, start, to, facts=FACTS)
    result = train(base='ft', arguments=['--load-from', start])
    assert result.code == 0, result.stderr
    (log,) = work_dir.glob('*/*.log')
    (line,) = (line for line in log.read_text().splitlines() if 'weights loaded' in line)
    assert 'start fresh (head)' in line
    assert f'from {"timm" if to == "timm" else to}' in line


def test_testing_a_classifier_of_another_format(tool, checkpoint, write_config, tmp_path):
    source = checkpoint('ft')
    convert(source, tmp_path / 'start.safetensors', 'mmpretrain')
    metrics = []
    for path in (source, tmp_path / 'start.safetensors'):
        out = tmp_path / f'{path.stem}.json'
        result = tool('test', write_config(base='ft'), path, '--out', out,
                      '--work-dir', tmp_path / path.stem)  # fmt: skip
        assert result.code == 0, result.stderr
        metrics.append(out.read_text())
    assert metrics[0] == metrics[1]


def test_publish(train, work_dir, write_config, tmp_path, capsys, request):
    assert train().code == 0
    (source,) = work_dir.glob('*.pth')
    spec = spec_from_file_location(
        'tool_publish', request.config.rootpath / 'tools/converters/publish_model.py'
    )
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / 'metrics.json').write_text('{"accuracy/top1": 12.5}')
    out = tmp_path / 'out'
    arguments = [source, '--name', 'mini', '--license', 'Apache-2.0', '--out-dir', out]
    arguments += ['--metrics', tmp_path / 'metrics.json', '--config', 'digits']
    module.main([str(argument) for argument in arguments])
    (weights,) = out.glob('mini-????????.safetensors')
    assert weights.stat().st_size < source.stat().st_size / 2  # the optimizer is gone
    found = load_weights(weights)
    assert 'values verified by the manifest in it' in found['notes']
    before = torch.load(source, weights_only=True)['state_dict']
    assert all(torch.equal(found['state_dict'][name], before[name]) for name in before)
    assert found['facts']['num_heads'] == 2
    init_model(load_config(write_config()), weights)

    (entry,) = yaml.safe_load(weights.with_suffix('.yml').read_text())['Models']
    assert entry['Name'] == weights.stem
    digest = entry['Metadata']['Checksum'].removeprefix('sha256:')
    assert len(digest) == 64
    assert weights.stem.endswith(digest[:8])
    assert entry['Metadata']['Parameters'] == sum(value.numel() for value in before.values())
    card = weights.with_suffix('.md').read_text()
    assert '| accuracy/top1 | 12.5 |' in card
    assert f"init_model('digits', '{weights.name}')" in card
    with pytest.raises(ValueError, match='exists; remove it or give another name'):
        module.main([str(argument) for argument in arguments])
    assert len(list(out.iterdir())) == 3
