from mae.zoo.formats.export import ExportedWeights, export_weights
from mae.zoo.formats.manifest import manifest_of
from mae.zoo.formats.metadata import facts_of_config
from mae.zoo.formats.name_maps import BY_NAME
from mae.zoo.formats.resize import resize
from mae.zoo.formats.translate import Translation, load_weights, translate

__all__ = [
    'BY_NAME',
    'ExportedWeights',
    'Translation',
    'export_weights',
    'facts_of_config',
    'load_weights',
    'manifest_of',
    'resize',
    'translate',
]
