"""The model card of a folder for the Hub: what is known of its weights, and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

from mae.utils.text import counted, printable
from mae.zoo.formats.architecture import Architecture
from mae.zoo.formats.hub import why_no_pipeline
from mae.zoo.formats.metadata import Facts
from mae.zoo.formats.training import Training

Rows = Mapping[str, object]

_LICENSE_LINE = '# license: fill in the one that you choose, such as apache-2.0'
_FEATURES, _CLASSES = 'image-feature-extraction', 'image-classification'
_SHOWN_CLASSES = 20
_PLACE = "FOLDER = 'OWNER/NAME'  # on the Hub, or the path of this folder"
_CITATION = """\
```bibtex
@inproceedings{he2022masked,
  title = {Masked Autoencoders Are Scalable Vision Learners},
  author = {He, Kaiming and Chen, Xinlei and Xie, Saining and Li, Yanghao and
            Doll\\'ar, Piotr and Girshick, Ross},
  booktitle = {CVPR},
  year = {2022},
  url = {https://arxiv.org/abs/2111.06377}
}
```"""


def hub_card(
    name: str,
    library: str,
    found: Architecture,
    facts: Facts,
    training: Training,
    config: Mapping[str, Any],
    images: Sequence[str],
) -> str:
    """A `README.md` with the header that the Hub reads.

    Args:
        name: title.
        library: 'transformers' or 'timm'.
        found: architecture of the weights.
        facts: metadata of the model.
        training: what the checkpoint states about it.
        config: content of the folder's `config.json`.
        images: how an image becomes an input, a line each.
    """
    no_pipeline = why_no_pipeline(found.in_channels, training.bits)
    is_mae = _is_masked_autoencoder(found, training)
    parts = [
        _header(library, found, training),
        f'# {_cell(name)}',
        _about(library, found, training),
        '## Model',
        _table(_model_rows(found, facts)),
        '## Training',
        _table(training.rows) if training.rows else 'The checkpoint states nothing about it.',
        *_changes(training),
        '## Results',
        _results(training),
        '## Images',
        '\n'.join(f'- {line}' for line in [*images, *([f'{no_pipeline}.'] if no_pipeline else [])]),
        '## Use',
        _use(library, found, config, has_pipeline=no_pipeline is None),
        '## Citation',
        'The method:' if is_mae else 'If it was fine-tuned from a masked autoencoder, the method:',
        _CITATION,
    ]
    return '\n\n'.join(parts) + '\n'


def _task(found: Architecture) -> str | None:
    """Pipeline of transformers; None for a model that hides patches whatever it is asked for."""
    if found.decoder:
        return None
    return _CLASSES if found.head else _FEATURES


def _header(library: str, found: Architecture, training: Training) -> str:
    lines = [f'library_name: {library}']
    if task := _task(found):
        lines.append(f'pipeline_tag: {task}')
    lines.append(f'license: {training.license.lower()}' if training.license else _LICENSE_LINE)
    lines.append('tags:')
    tags = ['vision-transformer', *(['timm'] if library == 'timm' else [])]
    tags += ['masked-autoencoder'] if _is_masked_autoencoder(found, training) else []
    lines += [f'- {tag}' for tag in tags]
    if training.metric and training.metric[0].startswith('accuracy') and not training.changes:
        lines += ['metrics:', '- accuracy']
    return '\n'.join(['---', *lines, '---'])


def _about(library: str, found: Architecture, training: Training) -> str:
    part = 'the encoder'
    if found.head:
        part = f'a classifier of {counted(found.num_classes, "class", "classes")}'
    elif found.decoder:
        part = 'encoder and decoder'
    origin = ''
    if found.decoder or training.algorithm == 'MAE':
        origin = ', pre-trained as a masked autoencoder (He et al. 2022)'
    elif training.pretraining == 'MAE':
        origin = ', trained from the weights of a masked autoencoder (He et al. 2022)'
    return (
        f'A Vision Transformer, {part}{origin}, in the files of {library}. Written by '
        '`mae zoo convert` from a checkpoint, its weights and the options of the command.'
    )


def _is_masked_autoencoder(found: Architecture, training: Training) -> bool:
    """Whether the weights are of one, come from one, or are published as such."""
    is_stated = 'MAE' in (training.algorithm, training.pretraining)
    return bool(found.decoder or is_stated or training.source)


def _model_rows(found: Architecture, facts: Facts) -> dict[str, object]:
    rows: dict[str, object] = {'architecture': found}
    heads = ['num_heads', *(['decoder_num_heads'] if found.decoder else [])]
    rows |= {
        name.replace('_', ' '): facts[name]
        for name in (*heads, 'norm_eps', 'mask_ratio')
        if name in facts
    }
    if found.decoder and 'norm_pix' in facts:
        rows['target normalised in each patch'] = 'yes' if facts['norm_pix'] else 'no'
    if found.head and len(classes := facts.get('classes') or ()) == found.num_classes:
        more = ', ...' if len(classes) > _SHOWN_CLASSES else ''
        shown = ', '.join(_cell(name) for name in classes[:_SHOWN_CLASSES])
        rows['classes'] = f'{len(classes)}: {shown}{more}'
    return rows


def _cell(text: object) -> str:
    """Text of anybody as one cell of a table, or as a title."""
    return ' '.join(printable(str(text)).replace('|', '\\|').replace('<', '&lt;').split())


def _table(rows: Rows) -> str:
    return '\n'.join(['| | |', '|---|---|', *(f'| {name} | {rows[name]} |' for name in rows)])


def _changes(training: Training) -> list[str]:
    lines = '\n'.join(f'- {_cell(line)}' for line in training.changes)
    return ['Changed when they were converted:', lines] if lines else []


def _results(training: Training) -> str:
    if training.metric is None:
        return 'The checkpoint states none.'
    name, value = training.metric
    before = ' It was measured before they were changed.' if training.changes else ''
    best = f'Best {name} on the validation images of the run, up to this checkpoint: {value:g}.'
    return best + before


def _use(
    library: str, found: Architecture, config: Mapping[str, Any], *, has_pipeline: bool
) -> str:
    code = [_PLACE]
    if library == 'timm':
        code += [
            '',
            'import timm',
            '',
            "model = timm.create_model('hf-hub:' + FOLDER, pretrained=True)  # or 'local-dir:'",
            'data = timm.data.resolve_model_data_config(model)',
            'transform = timm.data.create_transform(**data, is_training=False)',
        ]
    else:
        kind = config['architectures'][0]
        code += [
            '',
            f'from transformers import AutoImageProcessor, {kind}',
            '',
            'processor = AutoImageProcessor.from_pretrained(FOLDER)',
            f'model = {kind}.from_pretrained(FOLDER)',
        ]
    task = _task(found)
    if has_pipeline and task:
        code += [
            '',
            'from transformers import pipeline',
            '',
            f"print(pipeline('{task}', model=FOLDER)('image.jpg'))",
        ]
    code += [
        '',
        'from mae.apis import get_model',
        '',
        '# CONFIG: name or path of a config of these sizes; FOLDER: a path, not a name on the Hub',
        'model = get_model(CONFIG, pretrained=FOLDER)',
    ]
    notes = [_note(library, found), 'For other libraries: `mae zoo convert FOLDER OUT --to NAME`.']
    return '\n'.join(['```python', *code, '```', '', *filter(None, notes)])


def _note(library: str, found: Architecture) -> str:
    if library == 'timm' or found.head:
        return ''
    if found.decoder:
        return (
            'Its pipeline for features hides patches at random; `ViTModel.from_pretrained(FOLDER)` '
            'sees all of them.'
        )
    return (
        'Features are `last_hidden_state`: the class token, then the patches. The pooler that '
        '`ViTModel` adds is no part of the checkpoint: `pooler_output` is random.'
    )
