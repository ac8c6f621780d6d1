#!/usr/bin/env bash
# Submit a training to SLURM: on each node one launcher, and with it a process for each GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py]
#
# GPUS (8) in all, GPUS_PER_NODE (8, or GPUS if fewer), CPUS_PER_TASK (for each GPU its share
# of a node of the partition), SRUN_ARGS (more words for sbatch), MAX_RESTARTS (3), PORT.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

if [[ $# -lt 3 ]]; then
    usage "[GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=... SRUN_ARGS=... MAX_RESTARTS=3 PORT=...] $0" \
        "PARTITION JOB_NAME CONFIG [WORK_DIR] [train.py arguments]"
fi
if [[ $# -gt 3 && $4 != -* ]]; then
    set -- "${@:1:3}" --work-dir "${@:4}"
fi
launch_sbatch "$1" "$2" dist_train.sh "${@:3}"
