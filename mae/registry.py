"""Every registry of the toolbox: names in configs become classes here and nowhere else.

Each is a child of mmengine's registry of the same job, so a config may also name what mmengine
ships (`IterTimerHook`) or, with its scope, what a sister library ships (`mmpretrain.CUB`,
`torchvision.Flowers102`).
"""

from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mae', locations=list(locations))


RUNNERS = _child(root.RUNNERS, 'mae.engine')
DATASETS = _child(root.DATASETS, 'mae.datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'mae.datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'mae.datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'mae.datasets')
MODELS = _child(root.MODELS, 'mae.models')
LOOPS = _child(root.LOOPS, 'mae.engine', 'mae.evaluation')
HOOKS = _child(root.HOOKS, 'mae.engine', 'mae.evaluation', 'mae.visualization')
OPTIMIZERS = _child(root.OPTIMIZERS, 'mae.engine')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'mae.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'mae.engine')
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, 'mae.engine')
METRICS = _child(root.METRICS, 'mae.evaluation')
VISUALIZERS = _child(root.VISUALIZERS, 'mae.visualization')
VISBACKENDS = _child(root.VISBACKENDS, 'mae.engine', 'mae.visualization')
LOG_PROCESSORS = _child(root.LOG_PROCESSORS, 'mae.engine')
# torchvision has no registries of its own: `torchvision.Flowers102` is found in this one.
TORCHVISION_DATASETS = Registry(
    root.DATASETS.name, parent=root.DATASETS, scope='torchvision', locations=['mae.datasets']
)


def find(registry: Registry, kind: Any) -> Any:
    """The class or function that a `type` of a config names in the current scope; None if none.

    Args:
        registry: the one of this kind of part.
        kind: the name, or the class itself.
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(None) as scoped:
        return scoped.get(kind)
