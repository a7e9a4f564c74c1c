#!/bin/sh
# What became of the Grid Engine job $1: prints running, success or failed. No answer of Grid Engine is no failure.

# Ctrl-C is Snakemake's.
trap '' INT
log=.snakemake/gridengine_logs/$1.log
case $(qstat -j "$1" 2>&1) in
    *"do not exist"*)
        # Another node may have written it just now.
        for pause in 1 2 4 8 0; do
            ended=$(grep -a "^job script ended with " "$log" 2>/dev/null | tail -n 1)
            [ -z "$ended" ] || break
            sleep $pause
        done
        [ "$ended" = "job script ended with 0" ] && echo success || echo failed
        ;;
    *"error reason"*)
        # State Eqw: the job waits until somebody looks after it.
        if qstat -u "$(id -un)" 2>/dev/null | awk -v job="$1" '$1 == job && $5 ~ /^E/ { found = 1 } END { exit !found }'; then
            qstat -j "$1" 2>&1 | grep "error reason" >&2
            qdel "$1" >&2
            echo failed
        else
            echo running
        fi
        ;;
    *) echo running ;;
esac
