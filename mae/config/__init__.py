"""From a name to a config in which every key and type is known, before anything is built."""

from mae.config.files import find_config, shipped_configs
from mae.config.load import load_config
from mae.config.options import parse_options

__all__ = ['find_config', 'load_config', 'parse_options', 'shipped_configs']
