#!/usr/bin/env bash
# Evaluate with several processes; each image counts once.
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
#
# NNODES, NODE_RANK, MASTER_ADDR and PORT as in dist_train.sh.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

if [[ $# -lt 3 || ! $3 =~ ^[1-9][0-9]*$ ]]; then
    usage "[NNODES=1 NODE_RANK=0 MASTER_ADDR=... PORT=...] $0 CONFIG CHECKPOINT GPUS" \
        "[test.py arguments]"
fi
launch_torchrun "$3" test.py "$1" "$2" "${@:4}"
