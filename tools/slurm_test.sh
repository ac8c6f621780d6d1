#!/usr/bin/env bash
# Evaluate through SLURM, one task for each GPU; each image counts once.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
#
# GPUS (8) in all, GPUS_PER_NODE (8, or GPUS if fewer), CPUS_PER_TASK (its share
# of a node of the partition), SRUN_ARGS, PORT.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

if [[ $# -lt 4 ]]; then
    usage "[GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=... SRUN_ARGS=... PORT=...] $0" \
        "PARTITION JOB_NAME CONFIG CHECKPOINT [test.py arguments]"
fi
launch_srun "$1" "$2" test.py "${@:3}"
