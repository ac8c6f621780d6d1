"""Pushing to a local stand-in of the Hub: one commit with all files, or none."""

import os
import re
import subprocess
import sys

import huggingface_hub
import pytest
import timm
import torch

from mae.apis import convert, push_to_hub
from mae.utils.errors import CheckpointError, UploadError
from tests.hub_server import TOKEN, hub_server

FILES = ['README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json']


@pytest.fixture
def folder(tmp_path):
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3, num_classes=0
    )
    torch.save(model.state_dict(), tmp_path / 'vit.pth')
    return convert(
        tmp_path / 'vit.pth', tmp_path / 'vit', 'transformers', facts={'num_heads': 3}
    ).out


@pytest.fixture
def hub(monkeypatch):
    with hub_server() as server:
        monkeypatch.setenv('HF_TOKEN', TOKEN)
        monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', server.url)
        monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_DISABLE_XET', True)
        yield server


def test_one_commit_has_all_files(hub, folder):
    (folder / 'notes.txt').write_text('mine')
    done = push_to_hub(folder, 'someone/mae-vit', private=True)
    assert hub.private == {'someone/mae-vit': True}
    ((name, files),) = hub.commits
    assert name == 'someone/mae-vit'
    assert files == {file: (folder / file).read_bytes() for file in FILES}
    assert len(hub.large) == 1
    assert done.url == f'{hub.url}/someone/mae-vit'
    assert sorted(done.files) == FILES
    assert done.notes == [
        'README.md names no licence: without one nobody may use the weights',
        'not pushed: notes.txt',
    ]
    (folder / 'LICENSE').write_text('MIT')
    assert push_to_hub(folder, 'someone/mae-vit').notes == ['not pushed: notes.txt']
    assert len(hub.commits) == 2
    assert hub.commits[-1][1]['LICENSE'] == b'MIT'


@pytest.mark.parametrize('step', ['create', 'large file', 'commit'])
def test_nothing_is_committed_where_the_hub_refuses(step, hub, folder):
    hub.refuse = step
    with pytest.raises(UploadError, match=r'someone/vit: nothing was committed: .*403') as caught:
        push_to_hub(folder, 'someone/vit')
    assert '\n' not in str(caught.value)
    assert not hub.commits


@pytest.mark.parametrize(
    ('step', 'refusal', 'what'),
    [
        ('create', 409, r'nothing was committed: the answer is none of a Hub \(KeyError'),
        ('create', 'page', 'nothing was committed: the answer is none of a Hub'),
        ('commit', 403, 'nothing was committed: 403'),
        ('commit', 500, 'look at its page, the files may have been committed: .*500'),
        ('commit', 'cut', 'look at its page, the files may have been committed: .*disconnected'),
        ('commit', 'page', r'look at its page, .* none of a Hub .*HF_ENDPOINT'),
    ],
)
def test_whether_the_hub_committed_is_said_where_it_is_known(step, refusal, what, hub, folder):
    hub.refuse, hub.refusal = step, refusal
    with pytest.raises(UploadError, match=f'^someone/vit: {what}') as caught:
        push_to_hub(folder, 'someone/vit')
    assert not re.search(r'\n|check: http|(.{40}).*\1', str(caught.value))


def test_card(hub, folder):
    card = folder / 'README.md'
    card.write_text('Mine.')
    assert push_to_hub(folder, 'someone/vit').notes == [
        'README.md names no licence: without one nobody may use the weights'
    ]
    card.write_text('---\nlicense: mit\n---\n')
    assert not push_to_hub(folder, 'someone/vit').notes
    asked = len(hub.asked)
    card.write_bytes(b'caf\xe9')
    with pytest.raises(CheckpointError, match=r'README\.md is no text in UTF-8: byte 3'):
        push_to_hub(folder, 'someone/vit')
    assert len(hub.asked) == asked


def test_private_does_not_become_public(hub, folder):
    hub.private['someone/vit'] = False
    with pytest.raises(UploadError, match=r'someone/vit is on the Hub already, and public'):
        push_to_hub(folder, 'someone/vit', private=True)
    assert not hub.commits


def test_wrong_token_and_none(hub, folder, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', 'hf_other')
    with pytest.raises(UploadError, match=r'nothing was committed: .*401'):
        push_to_hub(folder, 'someone/vit')
    asked = len(hub.asked)
    for token, letter in (('hf_\u0442oken', r'\\u0442'), ('hf_to ken', ' ')):
        monkeypatch.setattr(huggingface_hub, 'get_token', lambda token=token: token)
        with pytest.raises(UploadError, match=rf"token of the Hub has the character '{letter}'"):
            push_to_hub(folder, 'someone/vit')
    assert len(hub.asked) == asked
    monkeypatch.setattr(huggingface_hub, 'get_token', lambda: None)
    with pytest.raises(UploadError, match=r'no token of the Hub: run `hf auth login`, or set HF_T'):
        push_to_hub(folder, 'someone/vit')
    assert not hub.commits


def test_unreachable_hub(folder, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    with hub_server() as server:
        url = server.url
    monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', url)
    with pytest.raises(UploadError, match=r'nothing was committed: .*refused'):
        push_to_hub(folder, 'someone/vit')


def test_missing_library(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ImportError, match='needs huggingface_hub: pip install huggingface_hub'):
        push_to_hub(folder, 'someone/vit')


@pytest.mark.parametrize(
    'name', ['vit', 'a/b/c', 'a/', '/b', 'a/b c', '../b', 'a/b--c', 'a/' + 'b' * 95, 3]
)
def test_names_that_the_hub_refuses(name, hub, folder):
    with pytest.raises(ValueError, match='give OWNER/NAME in at most 96 letters, digits'):
        push_to_hub(folder, name)
    assert not hub.asked


@pytest.mark.parametrize('missing', ['README.md', 'config.json', 'model.safetensors'])
def test_folder_without_a_file(missing, hub, folder):
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=rf'has no {missing}; `mae zoo convert CHECKPOINT'):
        push_to_hub(folder, 'someone/vit')
    assert not hub.asked


def test_what_is_no_folder(hub, folder):
    for path, what in ((folder / 'README.md', 'is a file'), (folder / 'x', 'is not there')):
        with pytest.raises(CheckpointError, match=f'{what}: give a folder; `mae zoo convert'):
            push_to_hub(path, 'someone/vit')
    assert not hub.asked


def test_damaged_weights(hub, folder):
    path = folder / 'model.safetensors'
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b'oops')
    with pytest.raises(CheckpointError, match='not what was written, by its manifest'):
        push_to_hub(folder, 'someone/vit')
    assert not hub.asked


def test_command_line(hub, folder, tmp_path, request):
    variables = {'HF_ENDPOINT': hub.url, 'HF_HUB_DISABLE_XET': '1', 'HF_HOME': str(tmp_path)}
    command = [sys.executable, '-m', 'mae', 'zoo', 'push', folder, 'someone/vit', '--private']
    result = subprocess.run(
        [str(word) for word in command],
        cwd=request.config.rootpath,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert 'model.safetensors' not in result.stderr  # a bar, which only a terminal shows
    assert f'to {hub.url}/someone/vit' in result.stdout
    assert [name for name, _ in hub.commits] == ['someone/vit']
    assert hub.private == {'someone/vit': True}
