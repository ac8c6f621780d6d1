"""One file a benchmark; each offers `run(...)`, which returns a report."""
