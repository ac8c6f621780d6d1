"""A cluster in one file: sbatch, srun and scontrol, which refuse what their manuals refuse.

It is the command whose name it has. `FAKE_SLURM` names the folder with its jobs. A job runs where
`sbatch` is called, until it is over, once more each time that it is requeued.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ.get('FAKE_SLURM', '.'))
NODES = ['node0', 'node1', 'node2', 'node3']


def option(words, name, default=None):
    found = [word.partition('=')[2] for word in words if word.startswith(f'--{name}=')]
    return found[-1] if found else default


def job_file(job):
    return STATE / f'{job}.json'


def new_job(words, *, batch):
    job = str(7 + len(list(STATE.glob('*.json'))))
    asked = [word for word in words if word in ('--requeue', '--no-requeue')]
    values = {'batch': batch, 'requeue': asked[-1:] == ['--requeue'], 'again': False}
    values['words'] = words
    job_file(job).write_text(json.dumps(values))
    return job


def environment(job, words, restarts):
    nodes = NODES[: int(option(words, 'nodes', 1))]
    found = {'SLURM_JOB_ID': job, 'SLURM_JOB_NODELIST': ','.join(nodes)}
    return {**os.environ, **found, 'SLURM_RESTART_COUNT': str(restarts)}


def sbatch(words):
    """sbatch(1): the first line must name an interpreter; the output is appended if asked for."""
    script = sys.stdin.read()
    if not script.startswith('#!'):
        sys.exit('sbatch: error: This does not look like a batch script.  The first')
    job = new_job(words, batch=True)
    print(f'Submitted batch job {job}', flush=True)
    copy = STATE / f'slurm_script{job}'  # as the node's daemon keeps it
    copy.write_text(script)
    mode = 'a' if option(words, 'open-mode') == 'append' else 'w'
    for restarts in range(5):
        with open(f'slurm-{job}.out', mode) as output:
            process = subprocess.Popen(
                ['bash', copy],
                env=environment(job, words, restarts),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            (STATE / f'{job}.pid').write_text(str(process.pid))
            process.wait()
        values = json.loads(job_file(job).read_text())
        if not values['again']:
            return
        job_file(job).write_text(json.dumps({**values, 'again': False}))


def srun(words):
    """srun(1): inside a job its tasks are a step, one a node here; outside it makes a job."""
    command = words[next(n for n, word in enumerate(words) if not word.startswith('--')) :]
    env = dict(os.environ)
    if 'SLURM_JOB_ID' not in env:
        env = environment(new_job(words, batch=False), words, 0)
    tasks = [
        subprocess.Popen(command, env={**env, 'SLURM_NODEID': str(n), 'SLURM_PROCID': str(n)})
        for n in range(len(env['SLURM_JOB_NODELIST'].split(',')))
    ]
    sys.exit(max(task.wait() for task in tasks))


def scontrol(words):
    """scontrol(1): requeue takes batch jobs, and of these the ones that may be requeued."""
    if words[:2] == ['show', 'hostnames']:
        print('\n'.join(words[2].split(',')))
        return
    verb, job = words
    assert verb == 'requeue'
    values = json.loads(job_file(job).read_text())
    if not values['batch']:
        sys.exit(f'Only batch jobs are accepted or processed for job {job}')
    if not values['requeue']:
        sys.exit(f'Requested operation is presently disabled for job {job}')
    job_file(job).write_text(json.dumps({**values, 'again': True}))
    if 'FAKE_SLURM_KILLS' in os.environ:
        os.killpg(int((STATE / f'{job}.pid').read_text()), signal.SIGTERM)


if __name__ == '__main__':
    {'sbatch': sbatch, 'srun': srun, 'scontrol': scontrol}[Path(sys.argv[0]).name](sys.argv[1:])
