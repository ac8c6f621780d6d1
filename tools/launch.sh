#!/usr/bin/env bash
# What the launchers share; they source it, nobody runs it.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"

# PYTHON as given, else the environment that `make` has made, unless another one is active.
if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python
    if [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} && -x $tools/../.venv/bin/python ]]; then
        PYTHON=$tools/../.venv/bin/python
    fi
fi

usage() {
    echo "usage: $*" >&2
    exit 2
}

# require_number NAME LEAST [MOST]: refuses a variable that is set to anything else.
require_number() {
    local value=${!1:-} most=${3:-999999999}
    [[ -n $value ]] || return 0
    if [[ ! $value =~ ^(0|[1-9][0-9]{0,8})$ || $value -lt $2 || $value -gt $most ]]; then
        usage "$1=$value is no number from $2 ${3:+to }${3:-on}"
    fi
}

# place_node: NNODES, NODE_RANK and MASTER_ADDR as they were given, or in a job of SLURM as it says.
place_node() {
    NNODES=${NNODES:-1}
    if [[ ! $NNODES =~ ^[1-9][0-9]*(:[1-9][0-9]*)?$ || ${NNODES%:*} -gt ${NNODES#*:} ]]; then
        usage "NNODES=$NNODES is neither a number of nodes nor the least and the most, as 1:4"
    fi
    require_number MAX_RESTARTS 0
    require_number PORT 1 65535
    require_number TORCH_ELASTIC_SHUTDOWN_TIMEOUT 0
    if [[ ${NNODES#*:} != 1 && -z ${MASTER_ADDR:-} ]]; then
        [[ -n ${SLURM_JOB_NODELIST:-} ]] ||
            usage "NNODES=$NNODES needs MASTER_ADDR, the address of node 0, the same on each node"
        MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
        MASTER_ADDR=${MASTER_ADDR%%$'\n'*}
    fi
    [[ ${NNODES#*:} == 1 ]] || NODE_RANK=${NODE_RANK:-${SLURM_NODEID:-0}}
    NODE_RANK=${NODE_RANK:-0}
    require_number NODE_RANK 0
    # An elastic run may have more nodes than places.
    if [[ $NNODES != *:* && $NODE_RANK -ge $NNODES ]]; then
        usage "NODE_RANK=$NODE_RANK needs a larger NNODES than $NNODES: nodes count from 0"
    fi
}

# launch_torchrun PROCESSES TOOL [ARGUMENTS]: PROCESSES on each of NNODES nodes.
launch_torchrun() {
    local processes=$1 tool=$2 place threads
    shift 2
    place_node
    if [[ $NNODES == *:* || ${MAX_RESTARTS:-0} != 0 ]]; then
        meet_elastically
    elif [[ $NNODES == 1 && -z ${PORT:-} ]]; then
        place=(--nnodes=1 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:0 --local-addr=127.0.0.1)
    else
        place=(--nnodes="$NNODES" --node-rank="$NODE_RANK"
            --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}")
    fi
    if [[ -z ${OMP_NUM_THREADS:-} ]] && ! command -v nvidia-smi >/dev/null; then
        # Without GPUs the processes share the cores; torchrun would give each just one.
        threads=$(($(nproc) / processes))
        export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
        export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
    fi
    # Seconds that a stopped run has for its last save, before SIGKILL.
    export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-120}
    exec "$PYTHON" "$tools/launch.py" "${place[@]}" --nproc-per-node="$processes" \
        --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
        "$tools/$tool" "$@" --launcher pytorch
}

# meet_elastically: sets `place` so that a run goes on without a node that is lost, and with it again.
meet_elastically() {
    local id=${RDZV_ID:-${SLURM_JOB_ID:-}} endpoint=127.0.0.1:${PORT:-0}
    if [[ ${NNODES#*:} != 1 ]]; then
        [[ -n $id ]] || usage "NNODES=$NNODES needs RDZV_ID, a name of the run, the same on each node"
        endpoint=$MASTER_ADDR:${PORT:-29500}
    fi
    export MAE_ELASTIC_RUN=${id:-$(date +%s)-$$}
    # Shared, the store would hold the addresses of the processes before a restart.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    place=(--nnodes="$NNODES" --max-restarts="${MAX_RESTARTS:-3}" --rdzv-id="$MAE_ELASTIC_RUN"
        --rdzv-backend=mae --rdzv-endpoint="$endpoint"
        --rdzv-conf="is_host=$((NODE_RANK == 0)),join_timeout=600,last_call_timeout=15")
}

# cpus_per_task PARTITION TASKS: cores of a node of the partition, shared by the tasks on it, at most
# 18 each: 16 data workers, the main process and the thread that pins memory. 10 where SLURM does not
# say how many there are.
cpus_per_task() {
    local partition=$1 tasks=$2 cores share
    cores=$(sinfo --noheader --partition="$partition" --format=%c 2>/dev/null | tr -d ' +' | sort -n |
        head -n 1) || cores=
    if [[ ! $cores =~ ^[0-9]+$ ]]; then
        echo 10
        return
    fi
    share=$((cores / tasks))
    ((share > 18)) && share=18
    ((share < 1)) && share=1
    echo "$share"
}

# place_gpus SUBMIT: GPUS and GPUS_PER_NODE of a job of SLURM as they were given, or 8, on full
# nodes; SUBMIT is the command that takes them.
place_gpus() {
    command -v "$1" >/dev/null || usage "$0 needs SLURM: there is no $1; else take tools/dist_*.sh"
    require_number GPUS 1
    require_number GPUS_PER_NODE 1
    require_number CPUS_PER_TASK 1
    require_number PORT 1 65535
    require_number MAX_RESTARTS 0
    GPUS=${GPUS:-8}
    GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
    if ((GPUS % GPUS_PER_NODE)); then
        usage "GPUS=$GPUS is no multiple of GPUS_PER_NODE=$GPUS_PER_NODE: each node has as many"
    fi
}

# launch_sbatch PARTITION JOB_NAME LAUNCHER CONFIG [ARGUMENTS]: a batch job, which SLURM may start
# anew after a time limit or the loss of a node; on each node LAUNCHER, with a process for each GPU.
launch_sbatch() {
    local partition=$1 job_name=$2 launcher=$3 nodes cpus sbatch_args run
    shift 3
    place_gpus sbatch
    nodes=$((GPUS / GPUS_PER_NODE))
    cpus=$((GPUS_PER_NODE * ${CPUS_PER_TASK:-$(cpus_per_task "$partition" "$GPUS_PER_NODE")}))
    read -ra sbatch_args <<<"${SRUN_ARGS:-}"
    # sbatch reads the job from its input, and copies it: paths are those of here.
    run=$(printf '%q ' "$tools/$launcher" "$1" "$GPUS_PER_NODE" "${@:2}")
    exec sbatch --partition="$partition" --job-name="$job_name" --nodes="$nodes" \
        --ntasks-per-node=1 --gres=gpu:"$GPUS_PER_NODE" --cpus-per-task="$cpus" \
        --requeue --open-mode=append --signal=USR1@120 \
        ${sbatch_args[@]+"${sbatch_args[@]}"} <<JOB
#!/usr/bin/env bash
export PYTHON=$(printf %q "$PYTHON") NNODES=$nodes MAX_RESTARTS=${MAX_RESTARTS:-3}
export PORT=${PORT:-\$((20000 + SLURM_JOB_ID % 20000))}
exec srun --kill-on-bad-exit=1 --cpus-per-task=$cpus $run
JOB
}

# launch_srun PARTITION JOB_NAME TOOL [ARGUMENTS]: GPUS tasks through SLURM.
launch_srun() {
    local partition=$1 job_name=$2 tool=$3 cpus srun_args
    shift 3
    place_gpus srun
    cpus=${CPUS_PER_TASK:-$(cpus_per_task "$partition" "$GPUS_PER_NODE")}
    read -ra srun_args <<<"${SRUN_ARGS:-}"
    export MASTER_PORT=${PORT:-$((20000 + RANDOM % 20000))} # the same for all tasks
    exec srun --partition="$partition" --job-name="$job_name" --gres=gpu:"$GPUS_PER_NODE" \
        --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="$cpus" --kill-on-bad-exit=1 \
        ${srun_args[@]+"${srun_args[@]}"} \
        "$PYTHON" -u "$tools/$tool" "$@" --launcher slurm
}
