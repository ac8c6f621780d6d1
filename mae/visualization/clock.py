"""Durations and moments for people."""

from datetime import datetime

_HOUR = 3600


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 4:07."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes}:{rest:02d}'


def clock_with_unit(seconds: float) -> str:
    """Minutes and seconds, or of an hour and more hours and minutes: 4:07 min, 2:05 h."""
    if seconds < _HOUR:
        return f'{clock(seconds)} min'
    return f'{clock(seconds / 60)} h'


def this_moment() -> str:
    """Date and time of now and here, such as 2026-01-31 14:07 CET."""
    return datetime.now().astimezone().strftime('%Y-%m-%d %H:%M %Z')
