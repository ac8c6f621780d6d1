"""What tools and notebooks call."""

from mae.apis.config import find_config, load_config
from mae.apis.formats import convert
from mae.apis.model import init_model
from mae.apis.publication import publish
from mae.apis.runs import test, train

__all__ = ['convert', 'find_config', 'init_model', 'load_config', 'publish', 'test', 'train']
