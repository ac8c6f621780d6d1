"""Durations for people."""


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 4:07."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes}:{rest:02d}'
