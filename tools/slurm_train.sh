#!/usr/bin/env bash
# Train through SLURM, one task for each GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py]
#
# GPUS (8) in all, GPUS_PER_NODE (8, or GPUS if fewer), CPUS_PER_TASK (its share
# of a node of the partition), SRUN_ARGS, PORT.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

if [[ $# -lt 3 ]]; then
    usage "[GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=... SRUN_ARGS=... PORT=...] $0" \
        "PARTITION JOB_NAME CONFIG [WORK_DIR] [train.py arguments]"
fi
if [[ $# -gt 3 && $4 != -* ]]; then
    set -- "${@:1:3}" --work-dir "${@:4}"
fi
launch_srun "$1" "$2" train.py "${@:3}"
