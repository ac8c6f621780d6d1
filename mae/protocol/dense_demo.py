"""Summary and pictures of the dense demo's runs, for its report."""

from typing import Any

from mae.protocol.demo import pretraining_of
from mae.protocol.plan import Plan
from mae.protocol.presets import DENSE_METRICS, DENSE_SCENES, DENSE_STARTS, dense_key
from mae.protocol.stages import config_of
from mae.protocol.table import row_of, table_of
from mae.visualization.dense import DenseView

_Result = dict[str, Any]
_NUM_PICTURES = 4


def dense_summary(plan: Plan) -> dict[str, Any]:
    """The content of summary.json; metrics in percent, times in seconds of each part."""
    table = table_of(plan, '')
    rows = {row['key']: row for row in table['rows']}
    parts = {'pretrain': table['pretrain'], **rows}
    return {
        'pretrain': pretraining_of(plan),
        'results': [
            _result(plan, task, metric, scenes)
            for task, metrics in DENSE_METRICS.items()
            for metric in metrics
            for scenes in DENSE_SCENES
        ],
        'seconds': {key: row['seconds'] for key, row in parts.items()},
        'setup': {
            **_sizes(plan),
            'epochs': {key: row['epochs'] for key, row in rows.items()},
            'seeds': list(plan.settings.seeds),
            'cores': plan.settings.cores,
            'cpu': table['machine'],
        },
        'versions': table['versions'],
        'commands': [command for row in parts.values() for command in row['commands']],
    }


def dense_views(plan: Plan, task: str) -> tuple[dict[str, list[DenseView]], list[str]]:
    """What the models of the first seed, trained on the fewest scenes, find in validation scenes.

    Args:
        plan: after `execute`.
        task: 'seg' or 'det'.

    Returns:
        Views by the start of the model, and the names of the classes.
    """
    from mae.apis.dense_pictures import dense_inferencer, view_dataset
    from mae.registry import DATASETS

    metric, scenes = DENSE_METRICS[task][0], DENSE_SCENES[0]
    views, names = {}, list[str]()
    for start in DENSE_STARTS:
        stage = plan.stage(dense_key(task, scenes, start))
        rate = row_of(stage, plan, metric).get('base_lr')
        (trial,) = (trial for trial in stage.trials if trial.base_lr == rate)
        checkpoint = plan.tasks_of(trial)[0].checkpoint()
        assert checkpoint is not None, 'the run has ended'
        inferencer = dense_inferencer(stage.config, checkpoint)
        views[start] = view_dataset(inferencer, range(_NUM_PICTURES))
        names = names or list(
            DATASETS.build(config_of(stage).val_dataloader.dataset).metainfo['classes']
        )
    return views, names


def _result(plan: Plan, task: str, metric: str, scenes: int) -> _Result:
    """The three starts side by side; the margin is fine-tuning's over the baseline."""
    found: _Result = {'metric': metric, 'scenes': scenes}
    for start in DENSE_STARTS:
        row = row_of(plan.stage(dense_key(task, scenes, start)), plan, metric)
        names = (metric, 'mean', 'std', 'base_lr', 'lr', 'is_best_at_edge', 'grid')
        found[start] = {name: row[name] for name in names if name in row}
    tuned, scratch = found['finetune'], found['scratch']
    found['margin'] = tuned['mean'] - scratch['mean']
    found['is_beyond_spread'] = min(tuned[metric]) > max(scratch[metric])
    return found


def _sizes(plan: Plan) -> dict[str, Any]:
    """Scenes of each data set, and the share of each scene that is hidden."""
    pretrain = config_of(plan.stage('pretrain'))
    tested = config_of(plan.stage(dense_key('seg', DENSE_SCENES[0], 'finetune')))
    return {
        'train_scenes': pretrain.train_dataloader.dataset.source.num_scenes,
        'val_scenes': tested.val_dataloader.dataset.source.num_scenes,
        'labelled_scenes': list(DENSE_SCENES),
        'mask_ratio': pretrain.model.masker.mask_ratio,
    }
