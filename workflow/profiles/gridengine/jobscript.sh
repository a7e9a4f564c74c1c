#!/bin/sh
# properties = {properties}
#$ -S /bin/sh
#$ -cwd
#$ -V
#$ -j y
#$ -o .snakemake/gridengine_logs/$JOB_ID.log
#$ -notify

# Signals before the job is stopped or killed, to all of its processes. Only a training listens, and saves.
trap '' USR1 USR2
# Read by status.sh: a job that was killed does not say it.
trap 'echo "job script ended with $?"' EXIT
# Where Grid Engine starts a login shell, /etc/profile has made another PATH than the one you submitted with.
PATH=${{SGE_O_PATH:-$PATH}}
# GPUs as Univa and Altair Grid Engine deal them out, where they are numbers.
case $SGE_HGR_gpu in
    "" | *[!0-9\ ]*) ;;
    *) export CUDA_VISIBLE_DEVICES=$(echo $SGE_HGR_gpu | tr ' ' ,) ;;
esac
{exec_job}
