"""Stand-ins for the bookkeeping objects in training checkpoints of others.

mmengine and mmpretrain pickle their loss history (a class, its methods, numpy arrays) beside the
weights, timm and the authors their command line with its paths, Lightning its hyperparameters.
Nothing of it is needed here, and the real classes would run what the file tells them to.
"""

from pickle import UnpicklingError
from typing import Any


class Inert:
    """Takes the place of an object of a checkpoint, and holds nothing of it."""

    def __new__(cls, *args: Any) -> 'Inert':
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget it."""


def _attribute(owner: Any, name: Any = None, *unused: Any) -> Inert:
    """For `getattr(HistoryBuffer, 'mean')`: a method of a stand-in, which is one too."""
    if owner is not Inert or not isinstance(name, str):
        raise UnpicklingError('GLOBAL builtins.getattr of what is no loss history')
    return Inert()


HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'

# By the name that a pickle asks for. A config keeps what it says, as a plain dict.
INERT: dict[str, Any] = {
    'builtins.getattr': _attribute,
    'argparse.Namespace': Inert,
    'datetime.datetime': Inert,
    'datetime.timedelta': Inert,
    'torch.torch_version.TorchVersion': Inert,
    **{
        f'{module}.{kind}{system}Path': Inert
        for module in ('pathlib', 'pathlib._local')
        for kind in ('', 'Pure')
        for system in ('', 'Posix', 'Windows')
    },
    **{
        f'{package}.AttributeDict': dict
        for package in (
            'pytorch_lightning.utilities.parsing',
            'lightning_fabric.utilities.data',
            'lightning.fabric.utilities.data',
        )
    },
    HISTORY: Inert,
    'mmengine.config.config.Config': Inert,
    'mmengine.config.config.ConfigDict': dict,
    'mmcv.utils.config.ConfigDict': dict,
    'numpy.dtype': Inert,
    'numpy.ndarray': Inert,
    'numpy.core.multiarray.scalar': Inert,
    'numpy.core.multiarray._reconstruct': Inert,
    'numpy._core.multiarray.scalar': Inert,
    'numpy._core.multiarray._reconstruct': Inert,
}


def inert_globals() -> list[Any]:
    """For `torch.serialization.safe_globals`."""
    return [(stand_in, name) for name, stand_in in INERT.items()]
