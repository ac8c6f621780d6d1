"""Errors that the user can fix. The command line prints them as one line."""


class ConfigError(ValueError):
    """A config states something impossible; the message names the key and what would be right."""


class DataError(ValueError):
    """A sample or a data folder cannot be used; the message names the path."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the message names file, keys and shapes."""


class NonFiniteError(ValueError):
    """Losses or gradients stay NaN or infinite; the message names the steps and what was tried."""


class DownloadError(ValueError):
    """A file cannot be fetched or is not what was published; the message says what to do."""


class UploadError(ValueError):
    """The Hub cannot be reached, or refuses a folder; the message says why."""
