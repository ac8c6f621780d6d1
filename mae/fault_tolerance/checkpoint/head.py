"""Taking a classifier's rows by the names of its classes."""

from collections.abc import Mapping, Sequence

from torch import Tensor

_ROWS = ('head.fc.', 'head.fcs.')


def remap_head(
    weights: dict[str, Tensor],
    own: Mapping[str, Tensor],
    there: Sequence[str] | None,
    here: Sequence[str] | None,
) -> list[str]:
    """Put the rows of a head, in place, into the order of other classes.

    Args:
        weights: of the file; each `head.fc` gets rows for `here`, those of new classes as in `own`.
        own: weights of the model to load into.
        there: names of the file's classes, in order.
        here: names of the model's classes, in order.

    Returns:
        A line if anything was moved; nothing where names are unknown, alike or have none in
        common.
    """
    if not there or not here or list(there) == list(here):
        return []
    rows = {name: row for row, name in enumerate(there)}
    pairs = [(new, rows[name]) for new, name in enumerate(here) if name in rows]
    if not pairs or len(rows) < len(there):
        return []
    moved = False
    for name, value in list(weights.items()):
        mine = own.get(name)
        if not name.startswith(_ROWS) or mine is None or value.ndim == 0:
            continue
        if len(value) != len(there) or len(mine) != len(here) or value.shape[1:] != mine.shape[1:]:
            continue
        new, old = zip(*pairs, strict=True)
        fitted = mine.detach().clone()
        fitted[list(new)] = value[list(old)].to(fitted)
        weights[name] = fitted
        moved = True
    if not moved:
        return []
    fresh = len(here) - len(pairs)
    left = len(there) - len(pairs)
    return [
        f'head: {len(pairs)} classes taken by name, {fresh} of {len(here)} start fresh, {left} of '
        f'{len(there)} left out'
    ]
