"""What the documentation names exists, what it shows runs."""

import ast
import importlib.util
import inspect
import json
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

from mae import datasets, engine, evaluation, models  # noqa: F401  (register what docs name)
from mae.__main__ import COMMANDS
from mae.apis import find_config, list_models, load_config
from mae.config import parse_options
from mae.config.check import check_config
from mae.config.schema import Run
from mae.datasets.catalogue import CATALOGUE
from mae.evaluation.corruption_error import ALEXNET
from mae.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS, LOOPS, MODELS

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / 'README.md', ROOT / 'CHANGELOG.md', *sorted((ROOT / 'docs').rglob('*.md'))]
LINKED = [*DOCS, ROOT / 'CONTRIBUTING.md', ROOT / 'SECURITY.md', *(ROOT / 'configs').rglob('*.md')]
TOPS = {path.name for path in ROOT.iterdir()} - {'data', 'work_dirs'}
# First words of commands that are not ours, whose arguments are not looked at.
FOREIGN = {'git', 'cd', 'source', 'pip', 'python3', 'pre-commit', 'mim'}
# Packages that readers import from; what stands in their `__all__` stays.
DOORS = [f'mae.{name}' for name in ('apis', 'datasets', 'models', 'evaluation', 'engine', 'doctor')]
TUTORIALS = sorted((ROOT / 'docs/en/tutorials').glob('*.ipynb'))
# Tools whose arguments are looked at, and nothing beyond.
PARSED = {
    'analysis/plan_cluster',
    *('download', 'robustness', 'predict', 'extract_features', 'converters/export_onnx'),
}


def name(path):
    return str(path.relative_to(ROOT))


def blocks(path, language):
    return re.findall(rf'^```{language}\n(.*?)^```', path.read_text(), re.M | re.S)


def shown_code(path):
    """The Python of a page, or of all cells of a notebook."""
    if path.suffix != '.ipynb':
        return '\n'.join(blocks(path, 'python'))
    cells = json.loads(path.read_text())['cells']
    return '\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')


def prose(path):
    return re.sub(r'^```.*?^```', '', path.read_text(), flags=re.M | re.S)


def quoted(path):
    return re.findall(r'`([^`\n]+)`', prose(path))


def slug(heading):
    words = re.sub(r'[^\w\s-]', '', heading.strip().lower())
    return re.sub(r'\s', '-', words)


@cache
def module(path):
    spec = importlib.util.spec_from_file_location(path.replace('/', '_')[:-3], ROOT / path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


parametrize_docs = pytest.mark.parametrize('path', DOCS, ids=name)


# --- links and names ------------------------------------------------------------------------


@pytest.mark.parametrize('path', LINKED, ids=name)
def test_links_lead_somewhere(path):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose(path)):
        if target.startswith(('http://', 'https://')):
            continue
        file, _, anchor = target.partition('#')
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f'{name(path)} links to {target}'
        assert linked.is_relative_to(ROOT), f'{name(path)} links out of the repository: {target}'
        if anchor:
            headings = re.findall(r'^#+ (.*)', prose(linked), re.M)
            assert anchor in map(slug, headings), f'{name(path)}: no heading for {target}'


@pytest.mark.parametrize('path', DOCS, ids=name)
def test_every_page_can_be_reached(path):
    pages = [ROOT / 'README.md', ROOT / 'docs/en/overview.md']
    linked = {
        (page.parent / target.partition('#')[0]).resolve()
        for page in pages
        for target in re.findall(r'\]\(([^)\s]+)\)', prose(page))
    }
    assert path in {*linked, *pages}


@parametrize_docs
def test_named_files_exist(path):
    for word in quoted(path):
        file, _, qualname = word.partition(':')
        if '/' not in word or file.split('/')[0] not in TOPS or re.search(r'[\s*<{]', file):
            continue
        assert (ROOT / file).exists(), f'{name(path)} names {word}'
        if qualname:
            assert qualname in definitions(file), f'{name(path)}: {file} has no {qualname}'


@cache
def definitions(file):
    """Qualified names of the classes and functions of a file."""
    found = set()

    def visit(node, prefix):
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    visit(child, f'{prefix}{child.name}.')

    visit(ast.parse((ROOT / file).read_text()), '')
    return found


def test_references_into_the_code_are_found_at_all():
    assert len([w for w in quoted(ROOT / 'docs/en/data_flow.md') if '.py:' in w]) > 25
    assert len([w for w in quoted(ROOT / 'docs/en/design/mmengine.md') if '.py:' in w]) > 20
    assert 'GlobalBatchSampler._order' in definitions('mae/datasets/sampler.py')
    assert 'GlobalBatchSampler.gone' not in definitions('mae/datasets/sampler.py')


@parametrize_docs
def test_named_modules_and_configs_exist(path):
    for word in quoted(path):
        if re.fullmatch(r'mae(\.\w+)+', word) and not word.endswith('.py'):
            resolve_name(word)
        if re.fullmatch(r'(mae_)?vit-[\w-]+', word) and word not in list_models():
            find_config(word)


# --- commands -------------------------------------------------------------------------------


def commands():
    for path in DOCS:
        for block in blocks(path, 'bash'):
            for line in block.replace('\\\n', ' ').splitlines():
                for part in map(str.strip, line.partition('#')[0].split(' && ')):
                    if part:
                        yield pytest.param(part, id=f'{name(path)}: {part}')


@pytest.mark.parametrize('command', list(commands()))
def test_command_is_understood(command):
    words = shlex.split(command, comments=True)
    env = {}
    while '=' in words[0]:
        key, _, value = words.pop(0).partition('=')
        env[key] = value
    if words[0] == 'python':
        words.pop(0)
    if words[0] == 'mae':
        parse_mae(words[1:])
    elif words[0] == 'make':
        verbs = re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.M)
        assert {word for word in words[1:] if '=' not in word} <= {*verbs}
    elif words[0].startswith('tools/visualization/'):
        config = module(words[0]).parse_args(words[1:]).config
        assert config == 'CONFIG' or load_config(config)
    elif words[0].removeprefix('tools/').removesuffix('.py') in PARSED:
        module(words[0]).parse_args(words[1:])
    elif words[0] == 'tools/data/verify.py':
        args = module(words[0]).parse_args(words[1:])
        assert args.root or load_config(args.config)
    elif words[0].startswith('tools/data/'):
        module(words[0]).parse_args(words[1:])
    elif words[0].startswith('tools/converters/'):
        args = module(words[0]).parse_args(words[1:])
        assert args.config in (None, 'CONFIG') or load_config(args.config)
    elif words[0] == 'tools/protocol.py':
        args = module(words[0]).parse_args(words[1:])
        assert args.start == 'CHECKPOINT' or load_config(args.start)
    elif words[0] == 'tools/benchmark.py':
        args = module(words[0]).parse_args(words[1:])
        assert args.task in ('start', 'gpu') or load_config(args.config)
    elif words[0] not in FOREIGN:
        train_or_test(words[0], words[1:], env)


def parse_mae(words):
    """Parse the line as the command would, where its parser is a function of its own."""
    if words == ['--help']:
        return
    name = next(name for name in COMMANDS if words[: len(name.split())] == name.split())
    if COMMANDS[name].function == 'main':
        parse = import_module(f'mae.commands.{COMMANDS[name].module}').parse_args
        parse(words[len(name.split()) :], name)


def train_or_test(script, words, env):
    """Parse the line as the script would and build the config it asks for."""
    assert (ROOT / script).is_file()
    script = Path(script).name
    launchers = ROOT / 'tools/launch.sh'
    known = set(re.findall(r'\$\{([A-Z_]+)', launchers.read_text())) | {'OMP_NUM_THREADS'}
    assert set(env) <= known, f'{script} reads no {set(env) - known}'
    kind, processes = ('test' if 'test' in script else 'train'), 1
    if script.startswith('dist_'):
        processes = words.pop(2 if kind == 'test' else 1)
    elif script.startswith('slurm_'):
        processes = env['GPUS']
        del words[:2]
        if kind == 'train' and len(words) > 1 and not words[1].startswith('-'):
            words.insert(1, '--work-dir')
    if 'CONFIG' in words or '--help' in words:
        return
    args = module(f'tools/{kind}.py').parse_args(words)
    config = load_config(args.config, parse_options(args.cfg_options))
    if kind == 'train':
        batch = args.batch_per_device or config.train_dataloader.batch_size
        nodes = env.get('NNODES', '1')
        if ':' in nodes:  # an elastic run deals the batch to any number
            return
        total = batch * int(processes) * int(nodes)
        assert config.global_batch_size % total == 0, 'this number of processes does not divide'


@parametrize_docs
def test_named_checkpoints_would_be_written(path):
    for config, epoch in re.findall(r'work_dirs/([\w-]+)/epoch_(\d+)\.pth', path.read_text()):
        loaded = load_config(config)
        interval = loaded.default_hooks.checkpoint.interval
        assert int(epoch) == loaded.train_cfg.max_epochs or int(epoch) % interval == 0
        assert int(epoch) <= loaded.train_cfg.max_epochs


# --- code -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'path', [path for path in DOCS if '```python' in path.read_text()], ids=name
)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {'__name__': 'docs'}
    for block in blocks(path, 'python'):
        if '_base_ = ' in block:
            check_config_file(block, tmp_path)
            continue
        before = dict(namespace)
        exec(compile(block, name(path), 'exec'), namespace)  # noqa: S102  (our own docs)
        new = {key: value for key, value in namespace.items() if before.get(key) is not value}
        check_config({key: new[key] for key in new.keys() & Run.__annotations__.keys()})


@pytest.mark.parametrize('path', [*DOCS, *TUTORIALS], ids=name)
def test_readers_import_what_packages_export(path):
    for line in ast.walk(ast.parse(shown_code(path))):
        if isinstance(line, ast.Import):
            assert not any(part.name.startswith('mae.') for part in line.names), ast.unparse(line)
        elif isinstance(line, ast.ImportFrom) and line.module.startswith('mae.'):
            for part in line.names:
                assert is_exported(line.module, part.name), ast.unparse(line)


def is_exported(module, name):
    if module == 'mae.registry':
        return name.isupper()
    package, _, last = module.rpartition('.')
    is_open = module in DOORS or (package in DOORS and last in import_module(package).__all__)
    return is_open and name in import_module(module).__all__


def test_a_module_behind_a_package_is_none_to_import_from():
    assert is_exported('mae.models.masking', 'Masker')
    assert is_exported('mae.registry', 'MODELS')
    assert not is_exported('mae.models.masking.base', 'Masker')
    assert not is_exported('mae.utils.hashing', 'key_noise')
    assert not is_exported('mae.apis', 'cli')


def test_sources_of_the_transfer_guide_are_known(tmp_path):
    guide = (ROOT / 'docs/en/user_guides/transfer.md').read_text()
    rows = re.findall(
        r'^\| .* \| (\d+) \| `((?:torchvision|mmpretrain)\.\w+)`, (.*) \|$', guide, re.M
    )
    assert len(rows) == 7
    for classes, kind, told in rows:
        options = re.findall(r'`(\w+=[^`]+)`', told)
        fixed, (train, test) = options[:-2], options[-2:]
        fixed = fixed or ["root='data/set'"]
        sources = [f'dict({", ".join([*fixed, split])})' for split in (train, test)]
        source = f"dict(**{{}}, _delete_=True, type='{kind}')"
        check_config_file(
            "_base_ = 'vit-base-p16_ft-8xb128-amp-coslr-100e_any'\n"
            f'model = dict(head=dict(num_classes={classes}))\n'
            f'train_dataloader = dict(dataset=dict(source={source.format(sources[0])}))\n'
            f'val_dataloader = dict(dataset=dict(source={source.format(sources[1])}))\n'
            'test_dataloader = val_dataloader\n',
            tmp_path,
        )


def test_numbers_of_images_and_classes_are_the_catalogues():
    """Sets that prepare.py compares with the same numbers."""
    guide = (ROOT / 'docs/en/user_guides/transfer.md').read_text()
    for title, key in (
        ('2017', 'inat2017'),
        ('2018', 'inat2018'),
        ('2019', 'inat2019'),
        ('Places365-Standard', 'places365'),
    ):
        train, val = CATALOGUE[key].parts
        counts = f'{train.classes:,} | {train.images:,} / {val.images:,}'
        assert f'| {title} | {counts} | ' in guide
    guide = (ROOT / 'docs/en/user_guides/robustness.md').read_text()
    for title, key in (('A', 'imagenet-a'), ('R', 'imagenet-r'), ('Sketch', 'imagenet-sketch')):
        (part,) = CATALOGUE[key].parts
        assert re.search(rf'^\| ImageNet-{title}: [^|]* \| {part.images[0]:,} \| ', guide, re.M)


def test_errors_of_alexnet_are_those_of_the_metric():
    guide = (ROOT / 'docs/en/user_guides/robustness.md').read_text()
    rows = re.findall(r'`(\w+)` \| (\d\d\.\d{4}) \|', guide)
    assert {name: float(error) for name, error in rows} == ALEXNET


def check_config_file(block, folder):
    """A config of the reader's own, in a folder beside those that are shipped."""
    configs = folder / 'configs'
    if not configs.exists():
        (configs / 'mine').mkdir(parents=True)
        for shipped in (ROOT / 'configs').iterdir():
            (configs / shipped.name).symlink_to(shipped)
    file = configs / 'mine/example.py'
    file.write_text(block)
    assert load_config(file).model.type in ('MAE', 'Classifier')


# --- the walk from config to loss --------------------------------------------------------------


def test_readme_leads_through_what_the_config_names():
    readme = (ROOT / 'README.md').read_text()
    linked = {(ROOT / path).resolve() for path in re.findall(r'\]\(([\w/.-]+\.py)\)', readme)}
    config = load_config('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k')
    loader = config.train_dataloader
    parts = [MODELS.get(config.model.type), LOOPS.get(config.train_cfg.type)]
    parts += [MODELS.get(part.type) for part in config.model.values() if isinstance(part, dict)]
    parts += [DATA_SAMPLERS.get(loader.sampler.type), DATASETS.get(loader.dataset.type)]
    parts += [FUNCTIONS.get(loader.collate_fn.type)]
    opened = {Path(inspect.getsourcefile(part)).resolve() for part in parts}
    assert len(opened) == 11
    assert opened <= linked
