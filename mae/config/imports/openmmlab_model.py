"""The models of mmselfsup and mmpretrain: what is not one key for another."""

from collections.abc import Mapping
from typing import Any

from mae.config.imports.recipe import ImportedRecipe, RecipeJob, Unread, dicts_of, type_of
from mae.utils.vit_sizes import ARCHS

_PLAIN_LOSSES = ('MAEReconstructionLoss', 'PixelReconstructionLoss', 'CrossEntropyLoss')
# Starts of weights that ours have by themselves.
_STARTS = ('Xavier', 'Constant', 'TruncNormal')


def read_pretraining(unread: Unread, recipe: ImportedRecipe) -> None:
    """Read what remains of a model that is to be pre-trained."""
    values = recipe.values
    values |= {'model.type': 'MAE', 'model.masker.type': 'RandomMasker'}
    values |= {'model.decoder.type': 'TransformerDecoder', 'model.target.type': 'PixelTarget'}
    for part in ('neck', 'head'):
        unread.take(f'model.{part}.type')
    _loss(unread, recipe)
    _starts(unread, recipe, 'model.init_cfg')


def read_classifier(unread: Unread, recipe: ImportedRecipe, job: RecipeJob) -> None:
    """Read what remains of a model with a head."""
    values = recipe.values
    values['model.type'] = 'Classifier'
    pool, smoothing = _pool(unread, job), _loss(unread, recipe)
    values['model.head.pool'] = pool
    values['model.encoder.final_norm'] = bool(unread.take('model.backbone.final_norm', True))
    frozen, depth = frozen_blocks(unread, values['model.encoder.arch'])
    unread.take('model.backbone.frozen_stages')
    if job == 'linear':
        values['model.head.norm'] = 'batch'
        values['model.trainable_blocks'] = 0
        values['model.encoder.final_norm'] = True
    else:
        values['model.head.norm'] = 'layer' if pool == 'avg' else 'none'
        values['model.trainable_blocks'] = depth - frozen if 0 < frozen < depth else None
        values['model.loss.label_smoothing'] = smoothing
        values['model.preprocessor.mixup'] = _mixing(unread, recipe, smoothing)
    for part in ('neck', 'head'):
        unread.take(f'model.{part}.type')
    for start in _starts(unread, recipe, 'model.head.init_cfg'):
        if type_of(start) == 'TruncNormal':
            values['model.head.init_std'] = start.get('std', 0.02)


def _pool(unread: Unread, job: RecipeJob) -> str:
    """The average of the patches, or the cls token: each version says it by another key."""
    unread.take('model.backbone.output_cls_token')
    unread.take('model.backbone.finetune')
    average = bool(unread.take('model.backbone.avg_token', False))
    average |= unread.take('model.backbone.out_type', None) == 'avg_featmap'
    average |= bool(unread.take('model.backbone.global_pool', False)) and job == 'ft'
    average |= type_of(unread.look('model.head')) == 'MAEFinetuneHead'
    return 'avg' if average else 'cls'


def _loss(unread: Unread, recipe: ImportedRecipe) -> float:
    """The share of label smoothing; a loss that is another is named."""
    loss = unread.take('model.head.loss', None) or {}
    kind = type_of(loss)
    smoothing = float(loss.get('label_smooth_val', 0.0))
    if kind not in ('', 'LabelSmoothLoss', *_PLAIN_LOSSES):
        recipe.leave_out('model.head.loss', loss, 'is another loss')
    if loss.get('criterion', 'L2') != 'L2':
        recipe.leave_out('model.head.loss.criterion', loss['criterion'], 'is the squared error')
    if loss.get('mode', 'original') != 'original':
        recipe.leave_out('model.head.loss.mode', loss['mode'], "is 'original'")
    return smoothing


def _mixing(unread: Unread, recipe: ImportedRecipe, smoothing: float) -> dict[str, Any] | None:
    """Mixup and cutmix, of which each batch gets one; their rates add up in the older versions."""
    augments = dicts_of(unread.take('model.train_cfg.augments', None))
    shares = unread.take('model.train_cfg.probs', None)
    alphas = {'Mixup': 0.0, 'CutMix': 0.0}
    probs = dict.fromkeys(alphas, 0.0)
    for number, augment in enumerate(augments):
        kind = type_of(augment).removeprefix('Batch')
        if kind not in alphas:
            recipe.leave_out(f'model.train_cfg.augments.{number}', augment)
            continue
        alphas[kind] = augment.get('alpha', 1.0)
        share = shares[number] if shares else 1 / len(augments)
        probs[kind] = augment.get('prob', share)
    total = sum(probs.values())
    if not total:
        return None
    return {
        'mixup_alpha': alphas['Mixup'],
        'cutmix_alpha': alphas['CutMix'],
        'switch_prob': probs['CutMix'] / total,
        'prob': min(1.0, total),
        'label_smoothing': smoothing,
    }


def _starts(unread: Unread, recipe: ImportedRecipe, key: str) -> list[dict[str, Any]]:
    """How weights begin; ours begin as the authors' do."""
    starts = dicts_of(unread.take(key, None))
    for start in starts:
        if type_of(start) not in _STARTS:
            recipe.leave_out(key, start, 'weights begin as those of the authors')
    return starts


def frozen_blocks(unread: Unread, arch: Any) -> tuple[int, int]:
    """Number of blocks that are not trained, and of all; 0 where the sizes are unknown.

    Args:
        arch: name or sizes of the encoder, as here.
    """
    sizes = arch if isinstance(arch, Mapping) else ARCHS.get(str(arch), {})
    return int(unread.look('model.backbone.frozen_stages') or 0), int(sizes.get('depth', 0))
