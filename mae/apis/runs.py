"""Training and testing by config: what `tools/train.py` and `tools/test.py` call."""

from pathlib import Path

from mmengine.config import Config

from mae.engine import Runner


def train(config: Config) -> Runner:
    """Run the training a config describes.

    Args:
        config: from `mae.apis.load_config`, with `work_dir` set.

    Returns:
        The runner, when the last epoch is done.

    Raises:
        ValueError: config, data or checkpoint cannot be used; the message says which and why.
    """
    runner: Runner = Runner.from_cfg(config)
    runner.train()
    return runner


def test(config: Config, checkpoint: str | Path) -> dict[str, float]:
    """Evaluate a checkpoint as a config describes.

    Args:
        config: from `mae.apis.load_config`, with `work_dir` set.
        checkpoint: weights to evaluate.

    Returns:
        The metrics by name.

    Raises:
        ValueError: config, data or checkpoint cannot be used; the message says which and why.
    """
    config.load_from = str(checkpoint)
    metrics: dict[str, float] = Runner.from_cfg(config).test()
    return metrics
