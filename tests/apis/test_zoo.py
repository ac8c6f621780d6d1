"""Models by name: what is found, fetched, loaded, and refused in one line."""

import contextlib
import hashlib
import json
import re
import runpy
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mae.apis import (
    convert,
    find_config,
    get_model,
    init_model,
    list_models,
    load_config,
    publish,
)
from mae.apis.zoo import find_model, load_model
from mae.utils.errors import CheckpointError, ConfigError, DownloadError
from mae.zoo import index
from mae.zoo.fetch import fetch

TOOL = Path(__file__).resolve().parents[2] / 'tools/download.py'
USERS = 'mae_vit-base-p16_8xb512-coslr-400e_in1k-224_20220223-85be947b.pth'
ARCH = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}
MAE = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
TUNED = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'


def small(name):
    return load_config(name, {'model.encoder.arch': ARCH})


@pytest.fixture(scope='module')
def weights():
    return get_model(small(MAE)).state_dict()


@pytest.fixture
def file(weights, tmp_path):
    path = tmp_path / 'mae.pth'
    torch.save({'state_dict': weights}, path)
    return path


@pytest.fixture
def zoo(file, tmp_path, monkeypatch):
    """zoo(**facts): an index with one entry, 'tiny', whose file lies in the cache."""

    def fill(checksum='sha256', config=MAE, url='https://no-such-host.invalid/tiny.pth', **facts):
        small(config).dump(tmp_path / 'tiny_config.py')
        if checksum == 'sha256':
            checksum = f'sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}'
        known = dict(License='CC-BY-NC-4.0', Source='me', Parameters=1, FLOPs=1, **facts)
        known |= {'Training FLOPs': 1, 'Checksum': checksum}
        model = dict(Name='tiny', Metadata=known, Weights=url, Config='tiny_config.py')
        (tmp_path / 'meta.json').write_text(json.dumps({'Models': [model]}))
        (tmp_path / 'index.yml').write_text('Import: [meta.json]')
        monkeypatch.setattr(index, 'package_path', lambda name: tmp_path / 'index.yml')
        monkeypatch.setenv('MAE_HOME', str(tmp_path / 'home'))
        cached = tmp_path / 'home/weights/tiny.pth'
        cached.parent.mkdir(parents=True)
        cached.write_bytes(file.read_bytes())
        return cached

    yield fill
    index.read_index.cache_clear()


@contextlib.contextmanager
def served(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def same(model, weights):
    found = model.state_dict()
    assert found.keys() == weights.keys()
    return all(torch.equal(found[name], weights[name]) for name in found)


# --- names ----------------------------------------------------------------------------------


def test_list_by_pattern():
    found = list_models('*base*400e*')
    assert found[0] == 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k_openmmlab-0x'
    assert len(found) == 2
    assert len(list_models()) == 25
    assert list_models('huge-p14_authors') == list_models('*huge-p14_authors*') != []
    assert list_models('resnet') == []


@pytest.mark.parametrize(
    'name',
    [
        *(USERS, USERS.removesuffix('.pth'), 'mae_vit-base-p16_8xb512-coslr-400e_in1k'),
        *('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', list_models('400e')[0]),
        str(find_config('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k')),
    ],
)
def test_the_users_file_has_many_names(name):
    assert find_model(name).file == USERS


@pytest.mark.parametrize('call', [get_model, find_model])
def test_unknown_name_tells_the_nearest(call):
    with pytest.raises(ConfigError, match=r'no such model .*nearest: mae'):
        call('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k_openmmlb')
    with pytest.raises(ConfigError, match=rf'no such model .*nearest: {MAE}'):
        call(MAE.replace('digits', 'digit'))
    with pytest.raises(ConfigError, match=r'no such model .*: resnet50; `mae zoo list`'):
        call('resnet50')
    with pytest.raises(ConfigError, match="no such model or config: ''"):
        call('')


def test_config_without_published_weights():
    with pytest.raises(CheckpointError, match=f'published for {MAE}: '):
        get_model(MAE, pretrained=True)
    with pytest.raises(ConfigError, match='no weights are published for'):
        find_model(MAE)


# --- weights --------------------------------------------------------------------------------


def test_fresh_model_is_in_evaluation_mode_and_follows_the_seed():
    torch.manual_seed(0)
    first = get_model(small(MAE))
    torch.manual_seed(0)
    assert same(get_model(small(MAE)), first.state_dict())
    assert not first.training


def test_overrides_change_the_model():
    model = get_model(small(TUNED), head=dict(num_classes=3), encoder=dict(img_size=(16, 24)))
    assert model.num_classes == 3
    assert model.encoder.grid_size == (4, 6)
    assert model.encoder.depth == 1
    with pytest.raises(ConfigError, match=r'^unknown key model\.encoder\.img_sise.*img_size'):
        get_model(small(TUNED), encoder=dict(img_sise=16))


def test_published_weights(zoo, weights, capsys):
    cached = zoo()
    loaded = load_model('tiny', pretrained=True)
    assert same(loaded.model, weights)
    assert loaded.entry.name == 'tiny'
    lines = capsys.readouterr().err
    assert f'{cached}: {len(weights)} weights loaded' in lines
    assert 'CC-BY-NC-4.0' in lines
    assert 'not for commercial use' in lines
    assert 'verified: its SHA-256 is' in lines
    assert lines.endswith('values verified by the SHA-256 published\n')
    assert same(get_model(small(MAE), pretrained='tiny'), weights)


def test_damaged_published_weights(zoo):
    cached = zoo()
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(DownloadError, match='not what was published'):
        get_model('tiny', pretrained=True)


@pytest.mark.parametrize(
    ('checksum', 'verdict'),
    [(None, 'NOT VERIFIED'), ('md5', 'a weak check')],
)
def test_how_far_a_file_is_verified_is_said(zoo, file, capsys, checksum, verdict):
    digits = hashlib.md5(file.read_bytes()).hexdigest()[:6]
    zoo(checksum=checksum and f'md5:{digits}')
    fetch('https://no-such-host.invalid/tiny.pth')
    assert verdict in capsys.readouterr().err


def test_encoder_only_file_says_what_starts_fresh(zoo, file, weights, capsys):
    encoder = {key: value for key, value in weights.items() if key.startswith('encoder.')}
    torch.save({'state_dict': encoder}, file)
    zoo(Holds='encoder')
    model = get_model('tiny', pretrained=True)
    assert torch.equal(model.encoder.cls_token, weights['encoder.cls_token'])
    assert f'{len(weights) - len(encoder)} start fresh (decoder)' in capsys.readouterr().err


def test_file_that_lacks_what_its_entry_promises(zoo, file, weights):
    torch.save({key: value for key, value in weights.items() if 'decoder' not in key}, file)
    zoo()
    with pytest.raises(CheckpointError, match=r'decoder\.mask_token is missing'):
        get_model('tiny', pretrained=True)


def test_file_of_ones_own(weights, file, tmp_path):
    assert same(get_model(small(MAE), pretrained=file), weights)
    path = tmp_path / 'own.safetensors'
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    assert same(get_model(small(MAE), pretrained=str(path)), weights)


def test_pre_trained_encoder_into_a_classifier_of_another_size(file, weights, capsys):
    model = get_model(small(TUNED), pretrained=str(file), encoder=dict(img_size=32))
    assert torch.equal(model.encoder.cls_token, weights['encoder.cls_token'])
    line = capsys.readouterr().err
    assert 'start fresh (head)' in line
    assert 'left out (decoder, encoder.norm)' in line
    assert 'encoder.pos_embed resampled from 17 to 65 positions' in line


def test_address(weights, file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MAE_HOME', str(tmp_path / 'home'))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    with served(tmp_path) as url:
        assert same(get_model(small(MAE), pretrained=f'{url}/mae.pth#sha256={sha256}'), weights)
        assert 'verified by the SHA-256 in its address' in capsys.readouterr().err
        with pytest.raises(DownloadError, match='not what was published'):
            fetch(f'{url}/mae.pth#sha256={"0" * 64}', dest=tmp_path / 'other')
    assert not list((tmp_path / 'other').iterdir())
    with pytest.raises(DownloadError, match='is not https'):
        get_model(small(MAE), pretrained='http://example.com/mae.pth')


def test_every_road_takes_names_and_addresses(zoo, file, weights, tmp_path, monkeypatch):
    zoo()
    for source in ('tiny', 'https://no-such-host.invalid/tiny.pth', file):
        assert same(init_model(small(MAE), source), weights)
        out = tmp_path / f'{len(list(tmp_path.iterdir()))}.safetensors'
        convert(source, out, 'mae')
        assert same(init_model(small(MAE), out), weights)
        publish(source, tmp_path / out.stem, 'tiny', license_='MIT')
    for call in (
        lambda: init_model(small(MAE), ''),
        lambda: convert('', tmp_path / 'x.pth', 'mae'),
    ):
        with pytest.raises(CheckpointError, match="no such checkpoint: ''"):
            call()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'name': ''}, 'a name without folders'),
        ({'name': '..'}, 'a name without folders'),
        ({'name': 'a\nb'}, 'a name without folders'),
        ({'name': 'a' * 300}, 'of up to 100 letters'),
        ({'license_': ' '}, 'which licence'),
        ({'license_': None}, 'which licence'),
        ({'metrics': {'top1': float('nan')}}, 'number, which top1 is not: nan'),
        ({'metrics': {'top1': True}}, 'number, which top1 is not: True'),
        ({'metrics': [1.0]}, 'metrics .* list'),
        ({'suffix': '.bin'}, r"the suffix is \.safetensors or \.pth, not '\.bin'"),
    ],
)
def test_what_is_not_published(file, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        publish(file, tmp_path / 'out', **{'name': 'a', 'license_': 'MIT', **options})
    assert not (tmp_path / 'out').exists()


def test_mirror(zoo, file, tmp_path, monkeypatch):
    zoo().unlink()
    (tmp_path / 'tiny.pth').write_bytes(file.read_bytes())
    with served(tmp_path) as url:
        monkeypatch.setenv('MAE_MIRROR', url)
        assert fetch(find_model('tiny'), tmp_path / 'dest').parent == tmp_path / 'dest'


def test_tool_downloads_and_prints_where(zoo, file, tmp_path, capsys):
    zoo().unlink()
    (tmp_path / 'tiny.pth').write_bytes(file.read_bytes())
    main = runpy.run_path(str(TOOL))['main']
    with served(tmp_path) as url:
        main(['tiny', '--dest', str(tmp_path / 'dest'), '--mirror', url])
    told = capsys.readouterr()
    assert told.out == f'{tmp_path / "dest/tiny.pth"}\n'
    assert 'licence: CC-BY-NC-4.0' in told.err
    assert {path.name for path in (tmp_path / 'dest').iterdir()} == {
        *('tiny.pth', 'tiny.pth.LICENSE.txt')
    }


def test_classes_come_with_the_file(tmp_path):
    model = get_model(small(TUNED))
    meta = {'classes': list('abcdefghij')}
    torch.save({'meta': meta, 'state_dict': model.state_dict()}, tmp_path / 'a.pth')
    assert load_model(small(TUNED), tmp_path / 'a.pth').classes == tuple('abcdefghij')


# --- files that do not fit ------------------------------------------------------------------


def refusal(config, contents, tmp_path):
    path = tmp_path / 'bad.pth'
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        torch.save(contents, path)
    with pytest.raises(CheckpointError) as caught:
        get_model(config, pretrained=path)
    message = str(caught.value)
    assert str(path) in message
    assert '\n' not in message
    return message


def test_file_of_another_architecture(tmp_path):
    with torch.device('meta'):
        state = get_model('vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', device='meta').state_dict()
    large = {key: torch.zeros(value.shape, dtype=torch.int8) for key, value in state.items()}
    message = refusal(small(TUNED), {'state_dict': large}, tmp_path)
    assert 'encoder.cls_token is (1, 1, 768) there and (1, 1, 16) here' in message
    assert message.endswith(' vit-base-p16_ft-8xb128-amp-coslr-100e_in1k')


@pytest.mark.parametrize(
    ('contents', 'message'),
    [
        (b'', 'is empty'),
        (b'some text', 'is not a readable checkpoint'),
        ({}, 'holds no weights, but nothing'),
        ({'state_dict': {}}, 'holds no weights, but nothing'),
        ({'optimizer': {'state': {0: {'exp_avg': torch.zeros(2)}}}}, 'no weights, but optimizer'),
        ({'step': torch.zeros(1), 'other': torch.zeros(1)}, 'has no encoder|is no ViT'),
    ],
)
def test_file_without_weights(contents, message, tmp_path):
    assert re.search(message, refusal(small(MAE), contents, tmp_path))


def test_the_test_names_a_config_that_fits_too(tmp_path):
    with torch.device('meta'):
        large = get_model('vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', device='meta').state_dict()
    weights = {key: torch.zeros(value.shape, dtype=torch.int8) for key, value in large.items()}
    torch.save({'state_dict': weights}, tmp_path / 'large.pth')
    with pytest.raises(CheckpointError, match=r'like a file for vit-base-p16_ft-8xb128-amp-'):
        init_model(small(TUNED), tmp_path / 'large.pth')


@pytest.mark.parametrize(
    ('device', 'message'),
    [
        ('gpu', "no device is called 'gpu'"),
        ('cuda:99', r"no device 'cuda:99': torch sees \d+ GPUs"),
    ],
)
def test_no_such_device_is_said_before_anything_is_fetched(device, message):
    for call in (get_model, init_model):
        with pytest.raises(ValueError, match=message):
            call(small(MAE), 'gone.pth', device=device)


@pytest.mark.parametrize('save', [save_file, torch.save])
@pytest.mark.parametrize('name', ['a.bin', 'a.pth', 'a.safetensors'])
def test_the_kind_of_file_is_told_by_its_content(save, name, weights, tmp_path):
    save({key: value.contiguous() for key, value in weights.items()}, tmp_path / name)
    assert same(get_model(small(MAE), pretrained=tmp_path / name), weights)


def test_missing_file():
    with pytest.raises(CheckpointError, match=r'no such checkpoint: gone/model\.pth'):
        get_model(small(MAE), pretrained='gone/model.pth')
    with pytest.raises(CheckpointError, match=r'no such checkpoint: mae_vit-base.*nearest models'):
        get_model(small(MAE), pretrained='mae_vit-base')
