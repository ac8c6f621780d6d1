"""What keeps a run alive. A training step can be understood without it.

- `checkpoint/`: saves and resumes; `hook.py` and `mae/engine/start.py` say in which order to read.
- `guard.py`, with `autopsy.py`: steps whose loss or gradients are not finite.
- `signals.py`: SIGTERM and its like stop a run after a save. `step_report.py` carries the flag.
- `watchdog.py`: ends a run that hangs. `bad_samples.py`: files that cannot be read.
- `lock.py`, `run_json.py`, `work_dir.py`: the work dir, for other processes and people.
- `launcher.py`: torchrun for `tools/launch.py`. Of elastic runs: `rendezvous.py`, how nodes meet;
  `elastic.py`, what earlier starts came to.
- `agreement.py`: processes that were started with something else are refused.
"""
