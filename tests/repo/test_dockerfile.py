"""The Dockerfile beside the Makefile, whose demo it runs, and what its image leaves out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lines(file):
    return [line for line in file.read_text().splitlines() if line and line[0] != '#']


def commands():
    """The commands of all RUN lines, without pip's options that spare space in the image."""
    joined = (ROOT / 'Dockerfile').read_text().replace('\\\n', ' ')
    ran = ' && '.join(re.findall(r'^RUN (.*)$', joined, re.MULTILINE))
    return [' '.join(one.replace('--no-cache-dir', '').split()) for one in ran.split('&&')]


def test_the_image_installs_what_the_demo_without_cuda_does():
    makefile = (ROOT / 'Makefile').read_text()
    torch, required, *headless, package, _ = commands()
    assert torch.replace('"$TORCH_INDEX"', '$(TORCH_INDEX)').partition(' ')[2] in makefile
    assert required == 'pip install -r requirements/runtime.txt -r requirements/demo.txt'
    assert '-r requirements/demo.txt -e .' in makefile
    assert package == 'pip install --no-deps -e .'
    assert len(headless) == 2
    assert all(one.partition(' ')[2] in makefile for one in headless)
    indices = [re.search(r'TORCH_INDEX ?\??=.*?(http\S+)', text) for text in file_texts()]
    assert indices[0][1] == indices[1][1]


def file_texts():
    return [(ROOT / name).read_text() for name in ('Makefile', 'Dockerfile')]


def test_the_image_holds_nothing_that_git_ignores():
    """Checkpoints, environments and runs may be many gigabytes."""
    left_out = set(lines(ROOT / '.dockerignore'))
    for pattern in lines(ROOT / '.gitignore'):
        inner = pattern.rstrip('/')
        wanted = inner.lstrip('/') if '/' in inner else f'**/{inner}'
        assert wanted in left_out, pattern


def test_what_the_image_needs_is_not_left_out():
    command = re.search(r'^CMD (.*)$', (ROOT / 'Dockerfile').read_text(), re.MULTILINE)
    assert 'tools/demo.py' in command[1]
    names = {pattern.removeprefix('**/') for pattern in lines(ROOT / '.dockerignore')}
    needed = {'configs', 'mae', 'requirements', 'tools', 'setup.py', 'pyproject.toml', 'README.md'}
    assert not names & needed
