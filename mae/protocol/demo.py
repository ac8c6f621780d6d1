"""Summary, logs and pictures of the demo's runs, for its report."""

from typing import Any

from mae.protocol.plan import Plan
from mae.protocol.stages import config_of
from mae.protocol.table import Row, table_of
from mae.visualization.panels import Panel
from mae.visualization.runs.logs import Scalars, images_per_second, with_key

_NUM_PICTURES = 9
_SPREAD = ('top1', 'mean', 'std')
_GRID = (*_SPREAD, 'epochs', 'base_lr', 'lr', 'is_best_at_edge', 'grid')


def summary_of(plan: Plan) -> dict[str, Any]:
    """The content of summary.json; top-1 in percent, times in seconds of each part."""
    table = table_of(plan, '')
    rows: dict[str, Row] = {row['key']: row for row in table['rows']}
    grids = {key: row for key, row in rows.items() if row['protocol'] == 'scratch'}
    finetune = rows['finetune']
    parts = {'pretrain': table['pretrain'], **rows}
    return {
        'pretrain': pretraining_of(plan),
        'knn': {'top1': rows['knn']['mean']},
        'finetune': {key: finetune[key] for key in _SPREAD},
        **{part: {key: row[key] for key in _GRID} for part, row in grids.items()},
        'margin': {part: finetune['mean'] - row['mean'] for part, row in grids.items()},
        'seconds': {part: row['seconds'] for part, row in parts.items()},
        'setup': {
            **_sizes(plan),
            'finetune_epochs': finetune['epochs'],
            'seeds': list(plan.settings.seeds),
            'cores': plan.settings.cores,
            'cpu': table['machine'],
        },
        'versions': table['versions'],
        'commands': [command for row in parts.values() for command in row['commands']],
    }


def logs_of(plan: Plan, summary: Row) -> dict[str, list[Scalars]]:
    """Logged scalars of pre-training, and of the first seed's fine-tuning and best rate."""
    assert plan.pretrain is not None
    best = next(
        t for t in plan.stage('scratch').trials if t.base_lr == summary['scratch']['base_lr']
    )
    tasks = {'finetune': plan.tasks_of(plan.stage('finetune')), 'scratch': plan.tasks_of(best)}
    logs = {part: seeds[0].records() for part, seeds in tasks.items()}
    return {'pretrain': plan.pretrain.records(), **logs}


def demo_panels(plan: Plan) -> tuple[list[Panel], list[int]]:
    """Panels of the first validation images, and which digits they are."""
    import torch

    from mae.apis import init_model, reconstruct
    from mae.registry import DATASETS

    loader = config_of(plan.stage('knn')).test_dataloader
    dataset = DATASETS.build(loader.dataset)
    samples = [dataset[index] for index in range(_NUM_PICTURES)]
    images = torch.stack([sample['inputs'] for sample in samples])
    model = init_model(config_of(plan.stage('pretrain')), plan.weights())
    return reconstruct(model, images), [sample['label'] for sample in samples]


def pretraining_of(plan: Plan) -> dict[str, float]:
    """Losses, speed and length of the plan's pre-training."""
    assert plan.pretrain is not None
    records = with_key(plan.pretrain.records(), 'loss')
    batch = config_of(plan.stage('pretrain')).global_batch_size
    return {
        'loss_first': records[0]['loss'],
        'loss_last': records[-1]['loss'],
        'images_per_second': images_per_second(records, batch),
        'epochs': int(records[-1]['epoch']),
    }


def _sizes(plan: Plan) -> dict[str, float]:
    """Images of each data set, and the share of each image that is hidden."""
    from mae.registry import DATASETS

    pretrain = config_of(plan.stage('pretrain'))
    finetune = config_of(plan.stage('finetune'))
    return {
        'train_images': len(DATASETS.build(pretrain.train_dataloader.dataset)),
        'val_images': len(DATASETS.build(finetune.val_dataloader.dataset)),
        'labels': len(DATASETS.build(finetune.train_dataloader.dataset)),
        'mask_ratio': pretrain.model.masker.mask_ratio,
    }
