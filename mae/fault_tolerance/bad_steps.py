"""The count of steps whose loss or gradients were not finite: what is kept over a resume."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mae.fault_tolerance.step_report import StepReport

# A gradient scaler starts at 65536 and halves at each overflow: this often in a row, it searches
# no more.
_SCALER_SEARCH = 30


@dataclass
class BadSteps:
    """Bad steps so far.

    Attributes:
        total: of them.
        in_row: of them since the last good one.
        first, last: of that row.
        scaler_skips: steps that a gradient scaler skipped to find its scale; they are no errors.
        scaler_in_row: of these since the last good step.
        rollbacks: how often the run has gone back.
        left_out: steps a <= step < b that are not trained on since.
    """

    total: int = 0
    in_row: int = 0
    first: int = -1
    last: int = -1
    scaler_skips: int = 0
    scaler_in_row: int = 0
    rollbacks: int = 0
    left_out: list[tuple[int, int]] = field(default_factory=list)

    def take(self, report: StepReport, scaled: bool) -> bool:
        """Count a step; returns whether it was bad.

        Args:
            report: of the step.
            scaled: whether a gradient scaler is at work.
        """
        if not report.skipped:
            self.in_row = self.scaler_in_row = 0
            return False
        if scaled and math.isfinite(report.loss) and self.scaler_in_row < _SCALER_SEARCH:
            self.scaler_skips += 1
            self.scaler_in_row += 1
            return False
        self.total += 1
        self.in_row += 1
        self.last = report.step
        if self.in_row == 1:
            self.first = report.step
        return True

    def go_back(self, step: int, margin: int) -> None:
        """Note that the run returns to `step`, to leave out the row and `margin` steps before."""
        self.left_out.append((max(step, self.first - margin), self.last + 1))
        self.rollbacks += 1
        self.in_row = self.scaler_in_row = 0

    def state(self) -> dict[str, Any]:
        """As plain values, for `from_state`."""
        return {**asdict(self), 'left_out': [list(steps) for steps in self.left_out]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> 'BadSteps':
        ranges: Sequence[Sequence[int]] = state['left_out']
        counts = {name: int(value) for name, value in state.items() if name != 'left_out'}
        return cls(**counts, left_out=[(int(start), int(stop)) for start, stop in ranges])
