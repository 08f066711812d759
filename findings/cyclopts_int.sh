#!/usr/bin/env bash
# cyclopts: an option that takes a whole number, given a fraction.
# Expected: a sentence that 1.5 is no whole number.
# Seen:     it is rounded, half to even, without a word: 1.5 and 2.5 are both 2.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cyclopts==5.5.2
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from cyclopts import App

print("cyclopts", version("cyclopts"))
app = App()
seen = {}


@app.default
def command(*, seed: int = 0) -> None:
    seen["seed"] = seed


for text in ("1.5", "2.5", "2.4"):
    app(["--seed", text], exit_on_error=False, result_action="return_value")
    print(f"--seed {text} is", seen["seed"])
    assert seen["seed"] == 2, "fractions are no longer rounded"
PY
