"""The batch of a device, so that any number of devices makes the same global batch."""


def batch_per_device(most: int, global_batch_size: int, world_size: int) -> int:
    """The largest batch that divides a device's share of the global batch and fits the device.

    Args:
        most: images that fit a device, as the config says.
        global_batch_size: images of an optimizer step over all devices.
        world_size: number of devices.

    Returns:
        At least half of `most`, or of the share where that is smaller; failing that `most`
        itself, which the sampler refuses with the numbers that would do.
    """
    share, rest = divmod(global_batch_size, world_size)
    largest = min(most, share)
    if rest or largest < 1:
        return most
    fitting = (size for size in range(largest, (largest - 1) // 2, -1) if share % size == 0)
    return next(fitting, most)
