#!/usr/bin/env bash
# Everything that a GPU is needed for, into one text file, within eight minutes: tests first, then short benchmarks.
# Usage: tests/gpu/run.sh PYTHON OUT
set -uo pipefail
python=$1 out=$2
part() { # seconds, title, command: one that runs out of time or fails is named, and the next one goes on
    local seconds=$1 title=$2
    shift 2
    printf '\n== %s\n' "$title"
    timeout --kill-after=5 "$seconds" "$@" 2>&1 || printf '!! %s: exit code %s\n' "$title" "$?"
}
nic() { printf 'import sys; sys.argv = ["nic", *sys.argv[1:]]; from nic_lightning.cli import main; sys.exit(main())'; }
{
    date -u
    git rev-parse HEAD
    part 20 "GPU" nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
    part 30 "PyTorch" "$python" -c 'import torch; print(torch.__version__, torch.version.cuda, torch.cuda.get_device_name())'
    part 260 "Tests" "$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu tests/flow/gpu tests/benchmarks
    part 70 "Flow, each step" "$python" -c "$(nic)" bench flow --device cuda --size 1024x436 --repeats 1 --no-raft
    part 70 "Training against the bare loop" "$python" -c "$(nic)" bench training codec=modulated trainer=gpu --rounds 3 --block 10
} | tee "$out"
! grep -q '^!!' "$out"
