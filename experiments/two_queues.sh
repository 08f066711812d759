# To be sourced. The functions first_queue and second_queue at once, a core each; what they say goes to runs/LOG_1.log and
# runs/LOG_2.log.
in_two_queues() { # LOG
    local first second failed=0
    first_queue >"runs/$1_1.log" 2>&1 &
    first=$!
    second_queue >"runs/$1_2.log" 2>&1 &
    second=$!
    wait "$first" || failed=1
    wait "$second" || failed=1
    if ((failed)); then
        tail -n 3 "runs/$1_1.log" "runs/$1_2.log" >&2
        echo "A queue failed; see above. The same command continues it." >&2
        exit 1
    fi
}
