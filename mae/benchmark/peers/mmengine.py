"""mmengine's own runner with its default hooks around the same model."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.logging import HistoryBuffer
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mae.benchmark.runner import InterleavedLoader
from mae.engine import Runner as Ours
from mae.engine.device_prefetcher import Batch
from mae.registry import MODELS


def runner(config: Config, options: dict[str, Any]) -> InterleavedLoader:
    """Run mmengine's loop with our model and batch.

    One parameter group, which is its fastest; its recipes for MAE make one for each parameter.

    Args:
        config: our config, for the model, the data and the logging interval.
        options: arguments of `InterleavedLoader`.
    """
    seed = config['randomness']['seed']
    source = Ours.from_cfg(config).build_dataloader(config.train_dataloader, seed=seed)
    batch = next(iter(source))
    interleaved = _FilledHistories(source, **options)
    interleaved.sampler = DefaultSampler(source.dataset, seed=seed)
    model = MODELS.build(config.model)
    built = Runner(
        model=model,
        work_dir=config.work_dir,
        train_dataloader=interleaved,
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 1e-4, 'betas': (0.9, 0.95), 'fused': True},
        },
        param_scheduler={
            'type': 'CosineAnnealingLR',
            'T_max': len(interleaved),
            'by_epoch': False,
        },
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': config.default_hooks.logger.interval}
        },
        randomness={'seed': seed},
        visualizer={'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]},
        default_scope='mmengine',
        experiment_name=f'{config.experiment_name}-mmengine',
    )
    interleaved.attach(
        built.model, batch, lambda: built.model.train_step(batch, built.optim_wrapper)
    )
    interleaved.history = built.message_hub.log_scalars
    try:
        built.train()
    finally:  # names in configs are ours again
        DefaultScope.get_instance(f'{config.experiment_name}-after', scope_name='mae')
    return interleaved


class _FilledHistories(InterleavedLoader):
    """Fills the histories, which grow by a value an iteration, instead of running them all.

    Running them would take minutes: each value copies the history.
    """

    history: Any = None

    def _pass(self, number: int) -> Iterator[Batch]:
        few = min(number, 10 * self._steps)
        yield from super()._pass(few)
        for name in list(self.history) if number > few else ():
            values, counts = self.history[name].data
            if name.startswith('train/') and len(values):
                missing = number - few
                self.history[name] = HistoryBuffer(
                    [*[float(values[-1])] * missing, *values], [*[1] * missing, *counts]
                )
