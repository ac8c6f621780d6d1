"""Weighted k-nearest-neighbour classification (Wu et al. 2018, section 3.4; the DINO protocol).

Shapes: M bank images, B queries, D width, N classes.
"""

import math

import torch
from torch import Tensor

from mae.evaluation.checks import check_bank, check_queries, check_temperature, is_count

# Votes below exp(_FLOOR) of the largest keep their order, though not their size, in float64.
_FLOOR = -600.0
# Factor of the similarity that is added to an equal vote: breaks ties, outweighs no neighbour.
_NEARER = 1e-8


def knn_scores(
    queries: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    temperature: float | None = 0.07,
    chunk_size: int = 65536,
) -> Tensor:
    """Votes of the k bank images most like each query, by cosine similarity; exact.

    The bank is searched in chunks, so B x chunk_size similarities are in memory, not B x M. Bank
    images that tie for the last of the k places share them, so the result depends neither on the
    order of the bank nor on `chunk_size`.

    Args:
        queries: float (B, D).
        bank: float (M, D), rows of length 1 (see `unit`).
        bank_labels: whole numbers (M,), each in 0..N-1.
        num_classes: N.
        k: number of neighbours, 1 to M.
        temperature: a neighbour's vote is exp(similarity / temperature); None counts each as 1, and
            of classes with as many votes the one whose neighbours are more like the query is first,
            as in the limit of high temperatures.
        chunk_size: bank images compared at a time.

    Returns:
        float64 (B, N), 0 for a class without a vote; the largest is the prediction. With a
        temperature a row is over its largest, so no temperature is too small or large. NaN for a
        query that is NaN or infinite.

    Raises:
        ValueError: shapes, types or devices do not fit together, k is not between 1 and M, or
            labels are not below N.
    """
    check_bank(bank, bank_labels)
    check_temperature(temperature)
    if not is_count(k) or k > len(bank):
        raise ValueError(f'k must lie between 1 and the {len(bank)} images of the bank, not {k!r}')
    if not is_count(chunk_size):
        raise ValueError(f'chunk_size must be at least 1, not {chunk_size!r}')
    low, high = torch.stack(bank_labels.aminmax()).tolist()
    if low < 0 or high >= num_classes:
        raise ValueError(
            f'the labels of the bank must lie in 0..{num_classes - 1}, not in {low}..{high}'
        )
    return votes(
        queries,
        bank,
        bank_labels,
        num_classes=num_classes,
        k=k,
        temperature=temperature,
        chunk_size=chunk_size,
    )


def votes(
    queries: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    *,
    num_classes: int,
    k: int,
    temperature: float | None,
    chunk_size: int = 65536,
) -> Tensor:
    """`knn_scores` of a bank that is checked already.

    Raises:
        ValueError: the queries do not fit the bank.
    """
    check_queries(queries, bank)
    dtype = torch.promote_types(torch.promote_types(queries.dtype, bank.dtype), torch.float32)
    queries, bank_labels = unit(queries.to(dtype)), bank_labels.long()
    # One more than k shows whether others are as near as the last.
    top, labels = _search(queries, bank, bank_labels, min(k + 1, len(bank)), chunk_size)
    last, rest = top[:, k - 1 : k], top[:, k:]
    top, labels = top[:, :k], labels[:, :k]
    weights = torch.ones_like(top, dtype=torch.float64)
    contested = (rest == last).any(dim=1, keepdim=True)  # B,1
    if contested.any():
        tied = contested & (top == last)
        equal = _count_equal(queries, bank, bank_labels, last, num_classes, chunk_size)
        share = tied.sum(1, keepdim=True) * equal / equal.sum(1, keepdim=True).clamp_min(1)
        classes = torch.arange(num_classes, device=labels.device).expand_as(share)
        weights = torch.cat([weights.masked_fill(tied, 0), share], dim=1)
        top = torch.cat([top, last.expand_as(share)], dim=1)
        labels = torch.cat([labels, classes], dim=1)
    top = top.double()
    if temperature is None:
        weights = weights * (1 + _NEARER * top)
        return weights.new_zeros(len(top), num_classes).scatter_add_(1, labels, weights)
    logs = (top - top.amax(1, keepdim=True)) / temperature + weights.log()
    return _sum_exp(logs, labels, num_classes)


def _search(
    queries: Tensor, bank: Tensor, bank_labels: Tensor, k: int, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Similarities (B, k) of the nearest bank images, largest first, and their labels (B, k)."""
    top = queries.new_empty(len(queries), 0)
    labels = bank_labels.new_empty(len(queries), 0)
    for start in range(0, len(bank), chunk_size):
        similarities = queries @ bank[start : start + chunk_size].to(queries.dtype).T  # B,chunk
        found, order = similarities.topk(min(k, similarities.shape[1]), dim=1)
        top = torch.cat([top, found], dim=1)
        labels = torch.cat([labels, bank_labels[start + order]], dim=1)
        top, order = top.topk(min(k, top.shape[1]), dim=1)  # B,k
        labels = labels.gather(1, order)
    return top, labels


def _count_equal(
    queries: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    similarity: Tensor,
    num_classes: int,
    chunk_size: int,
) -> Tensor:
    """Bank images of each class (B, N) whose similarity is that of each query's (B, 1)."""
    counts = queries.new_zeros(len(queries), num_classes)
    parts = bank.split(chunk_size), bank_labels.split(chunk_size)
    for features, labels in zip(*parts, strict=True):
        # The product of `_search`, of the same shape: equal to the last bit.
        equal = queries @ features.to(queries.dtype).T == similarity  # B,chunk
        counts.index_add_(1, labels, equal.to(counts.dtype))
    return counts.double()


def unit(features: Tensor) -> Tensor:
    """Rows divided by their L2 norm: NaN where the norm overflows the type.

    Args:
        features: float (B, D); float16 and bfloat16 are converted to float32.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    length = length.clamp_min(1e-12).masked_fill(~length.isfinite(), math.nan)
    return features / length


def _sum_exp(logs: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Sums of exp(logs) (B, k) by label, over the largest of the row: (B, N).

    Sums are taken over the largest of each class before they are taken over that of the row, so
    that a class far below the winner still has its neighbours counted, and its place.
    """
    shape = len(logs), num_classes
    largest = logs.new_full(shape, -math.inf).scatter_reduce_(1, labels, logs, 'amax')
    shifted = (logs - largest.gather(1, labels)).masked_fill(logs.isneginf(), -math.inf)
    sums = logs.new_zeros(shape).scatter_add_(1, labels, shifted.exp())
    total = largest + sums.log()  # -inf without a vote
    total = total - total.amax(1, keepdim=True)
    tail = math.exp(_FLOOR) / (_FLOOR + 1 - total)  # falls as `total` does, and never to 0
    return torch.where(total > _FLOOR, total.exp(), tail)
