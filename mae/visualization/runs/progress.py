"""Progress of a run as a line of text, and as HTML for a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mae.visualization.clock import clock_with_unit
from mae.visualization.curves import Series, line_chart, smoothed

_BAR = 20  # letters


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: optimizer steps done.
        steps: of the whole run.
        epoch: number of the one that runs, from 1.
        epochs: of the whole run.
        loss: mean of the latest steps; None before the first.
        images_per_second: 0 if unknown.
        seconds_left: to the last step.
        losses: step and loss of some of the steps so far.
        doing: what it does beside steps; '' while it trains.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float | None
    images_per_second: float
    seconds_left: float
    losses: Sequence[tuple[int, float]] = ()
    doing: str = ''


def progress_line(progress: Progress, width: int) -> str:
    """One line, cut at `width` letters."""
    share = progress.step / max(progress.steps, 1)
    filled = int(_BAR * share)
    bar = '=' * filled + '-' * (_BAR - filled)
    return f'[{bar}] {100 * share:3.0f}%  {"  ".join(_facts(progress))}'[: max(width, 0)]


def progress_html(progress: Progress) -> str:
    """A bar, the facts, and a chart of the loss from the second step on."""
    bar = (
        f'<progress value="{progress.step}" max="{max(progress.steps, 1)}" '
        'style="width:100%"></progress>'
    )
    chart = ''
    if len(progress.losses) > 1:
        steps, losses = zip(*progress.losses, strict=True)
        lines = smoothed(Series('', steps, losses, colour=0))
        try:
            chart = line_chart(lines, title='loss', x_label='step', y_label='loss', tips=False)
        except ValueError:  # none of them is finite
            chart = ''
    text = escape('  ·  '.join(_facts(progress)))
    return f'<div style="max-width:36rem">{bar}<div>{text}</div>{chart}</div>'


def _facts(progress: Progress) -> list[str]:
    found = [f'epoch {progress.epoch}/{progress.epochs}', f'step {progress.step:,}']
    if progress.loss is not None:
        found.append(f'loss {progress.loss:.4g}')
    if progress.images_per_second:
        found.append(f'{progress.images_per_second:,.0f} images/s')
    if progress.doing:
        found.append(progress.doing)
    elif progress.step < progress.steps and progress.images_per_second:
        found.append(f'{clock_with_unit(progress.seconds_left)} left')
    return found
