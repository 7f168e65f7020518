#!/bin/sh
# A SLURM of one node on this machine, for tests: all its files below one folder, its own ports and
# its own munge. Nothing of a SLURM that is installed here otherwise is touched.
#
#   tests/slurm_node.sh install       Debian's packages, as root
#   tests/slurm_node.sh start DIR     then: export SLURM_CONF=DIR/slurm.conf
#   tests/slurm_node.sh stop DIR      its jobs are cancelled
#
# Memory limits are enforced where control groups can be used (root, not in a plain container).
# Partitions: debug (default), spare (preempted by urgent, told ahead) and urgent.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

install() {
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge
}

start() {
    dir=$1
    user=$(id -un)
    host=$(hostname -s)
    port=$((20000 + $$ % 5000 * 2)) # so that several can stand side by side
    mkdir -p "$dir/state" "$dir/spool"
    chmod 700 "$dir"
    head -c 1024 /dev/urandom > "$dir/munge.key"
    chmod 600 "$dir/munge.key"
    munged --socket="$dir/munge.socket" --key-file="$dir/munge.key" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" --force 2> "$dir/munged.err"
    track=linuxproc task=none
    if [ "$user" = root ] && [ -w /sys/fs/cgroup/memory ]; then
        track=cgroup task=cgroup
    fi
    cat > "$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
ProctrackType=proctrack/$track
TaskPlugin=task/$task
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=2000
MinJobAge=600
SchedulerParameters=bf_interval=5,sched_min_interval=0
KillWait=15
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=spare Nodes=$host PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=$host PriorityTier=20 PreemptMode=OFF
CONF
    printf 'ConstrainRAMSpace=yes\nConstrainSwapSpace=no\n' > "$dir/cgroup.conf"
    export SLURM_CONF="$dir/slurm.conf"
    slurmctld
    slurmd
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(sinfo --noheader --format=%T --partition=debug)" = idle ] && return
        sleep 1
    done
    echo "the node did not become idle; see the logs in $dir" >&2
    exit 1
}

stop() {
    dir=$1
    export SLURM_CONF="$dir/slurm.conf"
    scancel --user="$(id -un)" || true
    scontrol shutdown || true
    sleep 2
    kill "$(cat "$dir/munged.pid")"
}

case "${1:-}" in
install) install ;;
start | stop) "$1" "$2" ;;
*) sed -n '2,9p' "$0" ; exit 2 ;;
esac
