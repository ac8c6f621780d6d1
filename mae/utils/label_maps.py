"""The labels that maps may have: the classes, and what is ignored."""

from torch import Tensor

from mae.utils.errors import DataError


def check_map_labels(
    maps: Tensor, num_classes: int, ignore_index: int, name: str, hint: str = ''
) -> None:
    """Refuse labels that are neither a class nor ignored: on a GPU they end a run without a reason.

    Args:
        maps: whole numbers of any shape, on the CPU.
        num_classes: labels are 0 to `num_classes` - 1.
        ignore_index: label of pixels that do not count.
        name: of the image or batch, for the message.
        hint: end of the message.

    Raises:
        DataError: counts the pixels, and names a label.
    """
    unknown = (maps < 0) | (maps >= num_classes)
    if unknown.any() and (unknown := unknown & (maps != ignore_index)).any():
        raise DataError(
            f'{name}: {int(unknown.sum())} pixels of the label map are neither one of the '
            f'{num_classes} classes nor ignore_index={ignore_index}, for example '
            f'{int(maps[unknown][0])}{hint}'
        )
