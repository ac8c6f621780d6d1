"""All scenes, in the order in which they are played."""

from tests.faults import kill, stop

ALL = [*kill.SCENES, *stop.SCENES]
