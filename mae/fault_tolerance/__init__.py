"""What keeps a run alive: checkpoints, guard, signals, watchdog, lock, run.json, bad samples."""
