"""Import paths from before modules moved: each still gives its module, warning, until 0.2."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Files of the checkpoint folder that are part of another now. The names of `resume` have gone to
# several, and the package has them all.
_CHECKPOINT = {
    'agree': '.load',
    'commit': '.save',
    'fit': '.load',
    'head': '.load',
    'identity': '.state',
    'inert': '.safe_pickle',
    'optimizer': '.state',
    'resume': '',
    'saver': '.background',
    'screen': '.safe_pickle',
    'snapshot': '.background',
    'space': '.hook',
    'store': '.folder',
    'writer': '.background',
}

# Below `mae`.
MOVED = {
    'apis.config': 'config',
    'apis.config.args': 'config.arguments',
    'apis.config.scope': 'config.check',
    'apis.config.types': 'config.arguments',
    'apis.fetch': 'zoo.fetch',
    'apis.files': 'apis.features',
    'apis.likely': 'apis.suggest_config',
    'apis.work_dir': 'fault_tolerance.work_dir',
    'config.helpers': 'config.source',
    'config.literals': 'config.options',
    'config.merge': 'config.nodes',
    'config.read': 'config.load',
    'datasets.array_file': 'datasets.sources.array_file',
    'datasets.arrow': 'datasets.sources.arrow',
    'datasets.digits': 'datasets.sources.digits',
    'datasets.folder': 'datasets.sources.folder',
    'datasets.index': 'datasets.sources.path_index',
    'datasets.index_cache': 'datasets.sources.index_cache',
    'datasets.packed': 'datasets.sources.packed',
    'datasets.replacement': 'datasets.seeded',
    'datasets.scan': 'datasets.sources.scan',
    'datasets.subset': 'datasets.sources.subset',
    'datasets.tables': 'datasets.sources.tables',
    'datasets.walk': 'datasets.sources.walk',
    'engine.allocator': 'utils.allocator',
    'engine.autopsy': 'fault_tolerance.autopsy',
    'engine.bad_steps': 'fault_tolerance.guard',
    'engine.batch': 'engine.data_loaders',
    'engine.checkpoint': 'fault_tolerance.checkpoint',
    'engine.distributed': 'utils.distributed',
    'engine.hooks.average': 'engine.hooks.ema',
    'engine.hooks.bad_samples': 'fault_tolerance.bad_samples',
    'engine.hooks.checkpoint': 'fault_tolerance.checkpoint.hook',
    'engine.hooks.guard': 'fault_tolerance.guard',
    'engine.hooks.resolution': 'engine.hooks.low_resolution',
    'engine.hooks.run_state': 'fault_tolerance.run_json',
    'engine.hooks.stop': 'fault_tolerance.signals',
    'engine.hooks.watchdog': 'fault_tolerance.watchdog',
    'engine.reports': 'fault_tolerance.step_report',
    'engine.run_state': 'fault_tolerance.run_json',
    'engine.statistics': 'utils.norm_statistics',
    'engine.step_loader': 'engine.device_prefetcher',
    'engine.stopping': 'fault_tolerance.signals',
    'engine.workers': 'utils.data_workers',
    'evaluation.features': 'evaluation.knn_evaluation',
    'evaluation.knn_hook': 'evaluation.knn_evaluation',
    'evaluation.knn_loop': 'evaluation.knn_evaluation',
    'evaluation.voter': 'evaluation.knn_evaluation',
    'models.encoders.archs': 'models.encoders.vit',
    'models.layers.drop_path': 'models.layers.block',
    'models.layers.mlp': 'models.layers.block',
    'models.layers.products': 'models.layers.attention',
    'models.layers.recompute': 'models.layers.block',
    'models.layers.residual': 'models.layers.block',
    'models.masking.partial': 'models.masking.base',
    'models.preprocessors.labels': 'models.preprocessors.image',
    'models.preprocessors.normalise': 'models.preprocessors.image',
    'models.preprocessors.shrink': 'models.preprocessors.image',
    'utils.circumstances': 'utils.hardware',
    'utils.compat': 'utils.versions',
    'utils.home': 'utils.cache_dir',
    'utils.lock': 'fault_tolerance.lock',
    'utils.shipped': 'utils.package_files',
    'visualization.logs': 'visualization.runs.logs',
    'zoo.formats.facts': 'zoo.formats.metadata',
    'zoo.formats.layout': 'zoo.formats.name_map',
    'zoo.formats.layouts': 'zoo.formats.name_maps',
    'zoo.formats.leave': 'zoo.formats.export',
    **{
        f'{room}.{old}': f'fault_tolerance.checkpoint{new}'
        for room in ('engine.checkpoint', 'fault_tolerance.checkpoint')
        for old, new in _CHECKPOINT.items()
    },
    **{
        f'{room}.{old}': 'utils.files'
        for room in ('engine.checkpoint', 'fault_tolerance.checkpoint')
        for old in ('atomic', 'durable')
    },
}

# Names that an old path has beside those of the module that took its place: where they are now.
_PICKLE = 'fault_tolerance.checkpoint.safe_pickle'
_IN_CHECKPOINT = {
    'agree': {'facts_of': 'fault_tolerance.checkpoint.load.facts_of_model'},
    'inert': {
        'INERT': f'{_PICKLE}.PLACEHOLDERS',
        'Inert': f'{_PICKLE}.Placeholder',
        'inert_globals': f'{_PICKLE}.placeholder_globals',
    },
    'resume': {'check_given': 'fault_tolerance.checkpoint.check_checkpoint'},
    'screen': {'screen': f'{_PICKLE}.check_pickle'},
    'store': {'Found': 'fault_tolerance.checkpoint.folder.FoundCheckpoint'},
}
NAMES = {
    'apis.likely': {'likely_config': 'apis.suggest_config.matching_config'},
    'apis.config.schema': {'Room': 'config.schema.Builder'},
    'apis.config.source': {'Source': 'config.source.ConfigSource'},
    'apis.config.types': {'describe': 'config.arguments.describe_hint'},
    'apis.fetch': {'fetch_proved': 'zoo.fetch.fetch_verified'},
    'datasets.index_cache': {
        'Found': 'datasets.sources.index_cache.ScanResult',
        'remembered': 'datasets.sources.index_cache.cached_scan',
    },
    'datasets.tables': {'Table': 'datasets.sources.tables.ImageTable'},
    'engine.checkpoint': {
        'check_given': 'fault_tolerance.checkpoint.check_checkpoint',
        'load_weights': 'zoo.formats.load_weights',
    },
    'engine.checkpoint.io': {'read_file': 'fault_tolerance.checkpoint.io.read_checkpoint'},
    'engine.checkpoint.manifest': {
        'Record': 'fault_tolerance.checkpoint.manifest.ContentRecord',
        'verify': 'fault_tolerance.checkpoint.manifest.verify_checkpoint',
    },
    'engine.hooks.bad_samples': {'Record': 'fault_tolerance.bad_samples.BadSample'},
    'engine.hooks.watchdog': {'leave': 'fault_tolerance.watchdog.end_process'},
    'engine.distributed': {'leads': 'utils.distributed.is_first_process'},
    'engine.run_state': {'weights_sha256': 'utils.digest.weights_sha256'},
    'engine.step_loader': {'Courier': 'engine.device_prefetcher.DevicePrefetcher'},
    'utils.lock': {'only_one': 'fault_tolerance.lock.folder_lock'},
    'utils.home': {'home': 'utils.cache_dir.cache_dir'},
    'utils.shipped': {'shipped': 'utils.package_files.package_path'},
    'zoo.formats.facts': {
        'lasting': 'zoo.formats.metadata.facts_to_store',
        'passport_of': 'zoo.formats.metadata.embedded_metadata',
    },
    'zoo.formats.leave': {
        'Departure': 'zoo.formats.export.ExportedWeights',
        'leave': 'zoo.formats.export.export_weights',
    },
    **{
        f'{room}.{old}': names
        for room in ('engine.checkpoint', 'fault_tolerance.checkpoint')
        for old, names in _IN_CHECKPOINT.items()
    },
}


def new_name(name: str) -> str | None:
    """Where a module is now; None if it has not moved."""
    parts = name.removeprefix('mae.').split('.')
    for count in range(len(parts), 0, -1):
        target = MOVED.get('.'.join(parts[:count]))
        if target is not None:
            return '.'.join(['mae', target, *parts[count:]])
    return None


class MovedFinder(MetaPathFinder, Loader):
    """Imports the module that has taken the place of one that moved."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        moved = fullname.startswith('mae.') and new_name(fullname) is not None
        return ModuleSpec(fullname, self) if moved else None

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, new_name(module.__name__)
        assert new is not None
        warnings.warn(f'{old} is {new} now', DeprecationWarning, stacklevel=2)
        found = import_module(new)
        for name, place in NAMES.get(old.removeprefix('mae.'), {}).items():
            room, _, new_name_there = place.rpartition('.')
            setattr(found, name, getattr(import_module(f'mae.{room}'), new_name_there))
        sys.modules[old] = found  # the same module, not a second one


def install() -> None:
    """Let the import system ask here before it looks for files."""
    sys.meta_path.insert(0, MovedFinder())
