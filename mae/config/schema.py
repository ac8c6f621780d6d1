"""The keys of a config that no class declares, and the registries that build its parts.

A `TypedDict` is a section of fixed keys; `Annotated[..., Builder]` is what a registry builds from a
dict with a `type`. The arguments of a `type` are declared by its class, not here.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

from mmengine.registry import EVALUATOR, MODEL_WRAPPERS, WEIGHT_INITIALIZERS, Registry

from mae import registry as r
from mae.utils.command_line import EvalAmp, MatmulPrecision, MayDiffer


@dataclass(frozen=True)
class Builder:
    """How a node of the config is built.

    Args:
        registries: where its `type` is looked up, in this order.
        default: the `type` of a node that states none; None makes stating it an obligation.
        extras: keys that are read before the class is called, and not passed to it.
        helper: (key, default) of a second class, which reads keys of the same node.
    """

    registries: tuple[Registry, ...]
    default: str | None = None
    extras: tuple[str, ...] = ()
    helper: tuple[str, str] | None = None


Model = Annotated[Any, Builder((r.MODELS,))]
Wrapper = Annotated[Any, Builder((MODEL_WRAPPERS,), 'MMDistributedDataParallel')]
Init = Annotated[Any, Builder((WEIGHT_INITIALIZERS,))]
Dataset = Annotated[Any, Builder((r.DATASETS,))]
Transforms = Annotated[Any, Builder((r.TRANSFORMS,))]
Sampler = Annotated[Any, Builder((r.DATA_SAMPLERS,))]
Function = Annotated[Any, Builder((r.FUNCTIONS,))]
Optimizer = Annotated[Any, Builder((r.OPTIMIZERS,))]
OptimWrapper = Annotated[
    Any,
    Builder(
        (r.OPTIM_WRAPPERS,),
        'OptimWrapper',
        helper=('constructor', 'DefaultOptimWrapperConstructor'),
    ),
]
OptimConstructor = Annotated[Any, Builder((r.OPTIM_WRAPPER_CONSTRUCTORS,))]
Scheduler = Annotated[Any, Builder((r.PARAM_SCHEDULERS,), extras=('convert_to_iter_based',))]
TrainLoopConfig = Annotated[Any, Builder((r.LOOPS,), 'EpochBasedTrainLoop', extras=('by_epoch',))]
ValLoopConfig = Annotated[Any, Builder((r.LOOPS,), 'ValLoop')]
TestLoopConfig = Annotated[Any, Builder((r.LOOPS,), 'TestLoop')]
Hook = Annotated[Any, Builder((r.HOOKS,), extras=('priority',))]
Metric = Annotated[Any, Builder((r.METRICS,))]
Metrics = Annotated[Any, Builder((r.METRICS, EVALUATOR), 'Evaluator')]
LogLines = Annotated[Any, Builder((r.LOG_PROCESSORS,), 'LogProcessor')]
Visualizer = Annotated[Any, Builder((r.VISUALIZERS,))]
VisBackend = Annotated[Any, Builder((r.VISBACKENDS,))]


class DataLoaderConfig(TypedDict, total=False):
    """`*_dataloader`: the arguments of torch's DataLoader and what they are built from."""

    dataset: Dataset
    sampler: Sampler
    collate_fn: Function
    batch_size: int
    num_workers: int | Literal['auto']
    persistent_workers: bool
    pin_memory: bool
    pin_memory_device: str
    prefetch_factor: int | None
    timeout: float
    multiprocessing_context: str | None
    in_order: bool


class Processes(TypedDict, total=False):
    """`env_cfg.mp_cfg`."""

    mp_start_method: Literal['fork', 'spawn', 'forkserver']
    opencv_num_threads: int


class Distributed(TypedDict, total=False):
    """`env_cfg.dist_cfg`: seconds after which a silent or hung process counts as dead.

    `timeout` is for steps, `start_timeout` for the rest.
    """

    timeout: float
    start_timeout: float
    backend: str


class Environment(TypedDict, total=False):
    """`env_cfg`."""

    cudnn_benchmark: bool
    mp_cfg: Processes
    dist_cfg: Distributed
    resource_limit: int
    float32_matmul_precision: MatmulPrecision | None


class Randomness(TypedDict, total=False):
    """`randomness`."""

    seed: int | None
    deterministic: bool
    diff_rank_seed: bool


class AutoScale(TypedDict, total=False):
    """`auto_scale_lr`."""

    enable: bool
    base_batch_size: int


class ParallelConfig(TypedDict, total=False):
    """`parallel`; `mae.engine.sharding.Parallelism` says what each means."""

    type: Literal['ddp', 'fsdp']
    reshard_after_forward: bool
    shard_size: int | None
    param_dtype: Literal['bfloat16', 'float16'] | None
    reduce_dtype: Literal['float32', 'bfloat16', 'float16']


class Imports(TypedDict, total=False):
    """`custom_imports`: modules that register what the config names."""

    imports: list[str] | str
    allow_failed_imports: bool


class DefaultHooks(TypedDict, total=False):
    """`default_hooks`: one hook for each key; all others belong in `custom_hooks`."""

    runtime_info: Hook
    timer: Hook
    sampler_seed: Hook
    logger: Hook
    param_scheduler: Hook
    checkpoint: Hook
    dense_report: Hook
    guard: Hook
    run_state: Hook
    stop: Hook
    watchdog: Hook
    bad_samples: Hook
    run_report: Hook
    progress: Hook
    visualization: Hook


class Run(TypedDict, total=False):
    """The top level of a config."""

    default_scope: str
    custom_imports: Imports | None
    base_lr: float | None
    global_batch_size: int | None
    model: Model
    data_preprocessor: dict[str, Any] | None
    train_dataloader: DataLoaderConfig | None
    val_dataloader: DataLoaderConfig | None
    test_dataloader: DataLoaderConfig | None
    train_cfg: TrainLoopConfig
    val_cfg: ValLoopConfig
    test_cfg: TestLoopConfig
    val_evaluator: Metrics
    test_evaluator: Metrics
    optim_wrapper: OptimWrapper
    eval_amp: EvalAmp | None
    param_scheduler: Scheduler
    default_hooks: DefaultHooks | None
    custom_hooks: Hook
    env_cfg: Environment
    log_processor: LogLines
    log_level: int | str
    visualizer: Visualizer
    randomness: Randomness
    load_from: str | None
    resume: bool
    resume_anyway: list[MayDiffer] | None
    work_dir: str | None
    experiment_name: str | None
    auto_scale_lr: AutoScale | None
    activation_checkpointing: list[str] | str | None
    find_unused_parameters: bool
    parallel: ParallelConfig | None
    model_wrapper_cfg: Wrapper
    sync_bn: str | None
    compile: bool | dict[str, Any] | None
    cuda_graph: bool | None
    launcher: Literal['none', 'pytorch', 'slurm']


class Arch(TypedDict, total=False):
    """`encoder.arch` as a dict."""

    embed_dim: int
    depth: int
    num_heads: int


class Paramwise(TypedDict, total=False):
    """`optim_wrapper.paramwise_cfg` of our own constructor."""

    layer_decay: float | None
    decay_tokens: bool
    decay_vectors: Literal['none', 'biases', 'all']
    no_decay: list[str]


KEYS = frozenset(Run.__annotations__)

# Keys of configs of other OpenMMLab libraries that have no effect here, and why.
IDLE = {
    'env_cfg.dist_cfg.backend': 'it is nccl on GPUs and gloo on CPUs',
    'auto_scale_lr.base_batch_size': 'base_lr is that of 256 images',
}

# Arguments of classes that are parts in turn, by the name they have everywhere in the toolbox.
# A part under any other key is looked up in the registries of its owner.
PARTS: dict[str, Any] = {
    **dict.fromkeys(('preprocessor', 'encoder', 'masker', 'decoder'), Model),
    **dict.fromkeys(('target', 'loss', 'head', 'backbone', 'neck'), Model),
    **dict.fromkeys(('dataset', 'datasets', 'source'), Dataset),
    **dict.fromkeys(('pipeline', 'transforms'), Transforms),
    'sampler': Sampler,
    **dict.fromkeys(('dataloader', 'bank_dataloader', 'val_bank_dataloader'), DataLoaderConfig),
    'optimizer': Optimizer,
    'constructor': OptimConstructor,
    **dict.fromkeys(('metrics', 'probes'), Metric),
    'vis_backends': VisBackend,
    'init_cfg': Init,
    'ema_type': Model,
}

# Dicts that are one argument of a class, by class and argument: a section, or the functions
# ('module:name') whose keywords they are. If one takes any keyword, only typos are refused.
OPTIONS: dict[tuple[str, str], type | tuple[str, ...]] = {
    ('ViTEncoder', 'arch'): Arch,
    ('DenseViTEncoder', 'arch'): Arch,
    ('GroupedOptimConstructor', 'paramwise_cfg'): Paramwise,
    ('StepOptimWrapper', 'clip_grad'): ('torch.nn.utils:clip_grad_norm_',),
    ('ImagePreprocessor', 'mixup'): ('timm.data.mixup:Mixup',),
    ('ImagePreprocessor', 'erase'): (
        'mae.models.preprocessors.augment:Erase',
        'timm.data.random_erasing:RandomErasing',
    ),
    # `create_model` passes further keywords to the model; those of a ViT are the most used.
    ('FeatureTarget', 'options'): (
        'timm:create_model',
        'timm.models.vision_transformer:VisionTransformer',
    ),
}

# Classes that pass their further keywords to a second one: (key that names it, default).
FORWARDING = {'EMAHook': ('ema_type', 'ExponentialMovingAverage')}
