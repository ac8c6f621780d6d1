#!/usr/bin/env bash
# Train with several processes on one or more nodes: one for each GPU, or on the CPU alone.
#
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
#
# One node finds a free port by itself. For more, run the same line on each node with NNODES, its
# NODE_RANK, MASTER_ADDR (of node 0) and, unless 29500 will do, PORT. A run with MAX_RESTARTS, or
# with NNODES=1:4 (least and most) and a name in RDZV_ID, goes on by itself after a failure.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

if [[ $# -lt 2 || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    usage "[NNODES=1 NODE_RANK=0 MASTER_ADDR=... PORT=... MAX_RESTARTS=... RDZV_ID=...] $0" \
        "CONFIG GPUS [train.py arguments]"
fi
launch_torchrun "$2" train.py "$1" "${@:3}"
