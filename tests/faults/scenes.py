"""All scenes, in the order in which they are played."""

from tests.faults import damage, disk, kill, numbers, save, signals, stop, world

ALL = [
    *kill.SCENES,
    *save.SCENES,
    *stop.SCENES,
    *world.SCENES,
    *signals.SCENES,
    *damage.SCENES,
    *numbers.SCENES,
    *disk.SCENES,
]
