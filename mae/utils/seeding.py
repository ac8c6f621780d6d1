"""Seeding every random generator a library may draw from, cheaply enough for each sample."""

import random

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed Python, numpy and torch (this process's CPU and, once in use, its GPU).

    `torch.manual_seed` is avoided: before CUDA starts it queues a call with a stack trace.
    """
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
