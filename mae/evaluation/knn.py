"""Weighted k-nearest-neighbour classification (Wu et al. 2018, section 3.4; the DINO protocol).

Shapes: M bank images, B queries, D width, N classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


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

    The bank is searched in chunks, so memory holds B x chunk_size similarities, not B x M.

    Args:
        queries: (B, D).
        bank: (M, D), of length 1 each (`F.normalize`, once for all queries).
        bank_labels: int64 (M,).
        num_classes: N.
        k: neighbours that vote.
        temperature: a neighbour's vote is exp(similarity / temperature); None counts each as 1.
        chunk_size: bank images compared at a time.

    Returns:
        (B, N); the largest is the prediction.

    Raises:
        ValueError: k is not between 1 and M.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f'k must lie between 1 and the {len(bank)} images of the bank, not {k}')
    queries = F.normalize(queries, dim=1)
    top = queries.new_empty(len(queries), 0)
    labels = bank_labels.new_empty(len(queries), 0)
    for start in range(0, len(bank), chunk_size):
        similarities = queries @ bank[start : start + chunk_size].T  # B,chunk
        found, order = similarities.topk(min(k, similarities.shape[1]), dim=1)
        top = torch.cat([top, found], dim=1)
        labels = torch.cat([labels, bank_labels[start + order]], dim=1)
        top, order = top.topk(min(k, top.shape[1]), dim=1)  # B,k
        labels = labels.gather(1, order)
    votes = torch.ones_like(top) if temperature is None else (top / temperature).exp()
    return votes.new_zeros(len(queries), num_classes).scatter_add_(1, labels, votes)
