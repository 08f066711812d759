"""What it takes to have a run again: its commit and uncommitted changes, its packages, its command line.

A run folder may come from anybody: what is taken from it is checked for its form before it becomes part of a command.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.config import PACKAGE
from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.machine.environment import MAX_DIFF, packages
from nic_lightning.runs.record.files import read_inside
from nic_lightning.runs.record.text import printable
from nic_lightning.runs.settings.overrides import HARDWARE, key_of, to_text

_MAX_ENVIRONMENT = 2**24
_OWN = ("run_dir", "fresh")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_VERSION = re.compile(r"[A-Za-z0-9][\w.+!-]*")


@dataclass
class Reproduction:
    """A run as its folder records it.

    Attributes:
        commit: of nic_lightning's checkout; None where it did not come from one.
        diff: uncommitted changes, for `git apply`.
        packages: version of each package.
        overrides: of nic-train, without those that say where the run lies.
        folder: in which it was started.
        notes: what the folder does not hold, or what stands in the way; sentences.
    """

    run: Run
    commit: str | None
    diff: bytes
    python: str
    packages: dict[str, str]
    overrides: list[str]
    folder: Path | None
    notes: list[str] = field(default_factory=list)
    is_whole: bool = True

    @property
    def checkout(self) -> Path | None:
        """The checkout that this package lies in, if it has the commit."""
        if self.commit is None or not git(PACKAGE, "cat-file", "-e", f"{self.commit}:nic_lightning/__init__.py")[0]:
            return None
        return Path(git(PACKAGE, "rev-parse", "--show-toplevel")[1].strip())

    def constraints(self) -> str:
        """Versions for `pip install -c`, without local parts such as +cu128: an index may have other builds."""
        known = {n: v.split("+")[0] for n, v in self.packages.items() if n.lower().replace("_", "-") != "nic-lightning"}
        return "".join(f"{name}=={version}\n" for name, version in known.items())

    def other_packages(self) -> list[str]:
        """Packages that differ here, as "torch 2.9.0 (here 2.10.0)"."""
        here = packages()
        return [f"{n} {v} (here {here.get(n, 'missing')})" for n, v in self.packages.items() if here.get(n) != v]

    def arguments(self, folder: Path) -> list[str]:
        """Arguments of nic-train for a run in `folder`."""
        return [*self.overrides, f"run_dir={to_text(str(folder))}"]


def read(run: Run) -> Reproduction:
    """What the folder of `run` holds; raises RunError where that is too little or damaged."""
    try:
        facts = json.loads(read_inside(run.folder, "environment.json", _MAX_ENVIRONMENT))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{run.folder}/environment.json is damaged.") from error
    if not isinstance(facts, dict) or run.config is None:
        raise RunError(f"{run.folder} is damaged: {'; '.join(run.problems) or 'environment.json holds no facts'}")
    if not isinstance(run.config.get("trainer"), dict):
        raise RunError(f"{run.folder} holds no training; nic-evaluate, or nic-analyze, makes its table again.")
    found = facts.get("git")
    git_facts: dict[str, Any] = found if isinstance(found, dict) else {}
    commit = str(git_facts.get("commit") or "")
    made = Reproduction(
        run,
        commit if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit) else None,
        read_inside(run.folder, "git.diff", MAX_DIFF) if git_facts.get("dirty") else b"",
        str(facts.get("python")) if _VERSION.fullmatch(str(facts.get("python"))) else "unknown",
        _packages(facts.get("packages")),
        _overrides(run),
        Path(facts["cwd"]) if isinstance(facts.get("cwd"), str) else None,
    )
    _note(made, facts, git_facts)
    return made


def _note(made: Reproduction, facts: dict[str, Any], git_facts: dict[str, Any]) -> None:
    if git_facts.get("diff_cut"):
        made.is_whole = False
        made.notes.append(f"git.diff was cut after {MAX_DIFF:,} bytes: the uncommitted changes are not complete.")
    untracked = git_facts.get("untracked")
    if isinstance(untracked, list) and untracked:
        count = git_facts.get("untracked_count", len(untracked))
        names = ", ".join(shlex.quote(str(name)) for name in untracked[:10])
        more = "" if count == len(untracked[:10]) else ", ..."
        made.notes.append(f"Files that git did not know were there, and are not kept ({count}): {names}{more}.")
    earlier = facts.get("earlier")
    if isinstance(earlier, list) and earlier:
        made.notes.append(f"The run was started {len(earlier) + 1} times; this is the code of the last time.")
        commits = {str((e.get("git") or {}).get("commit")) for e in earlier if isinstance(e, dict)}
        if commits - {made.commit}:
            made.notes.append("Earlier starts had other commits, so the run is not that of one commit.")
        made.notes += _computed_elsewhere([e for e in [*earlier, facts] if isinstance(e, dict)])


def _computed_elsewhere(starts: list[dict[str, Any]]) -> list[str]:
    """Sentences about what of the trainer, such as precision or devices, was another for a part of the steps."""
    trained = [s for s in starts if isinstance(s.get("first_step"), int) and isinstance(s.get("trainer"), dict)]
    notes = []
    for key in sorted(HARDWARE):
        values = [start["trainer"].get(key) for start in trained]
        if any(value != values[0] for value in values):
            parts = [f"{str(v)[:60]} from step {s['first_step']}" for s, v in zip(trained, values, strict=True)]
            notes.append(f"trainer.{key} was not the same for all steps: {', then '.join(parts)}.")
    return notes


def _packages(found: object) -> dict[str, str]:
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(n): str(v) for n, v in pairs if _NAME.fullmatch(str(n)) and _VERSION.fullmatch(str(v))}


def _overrides(run: Run) -> list[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for text in run.overrides:
        try:
            parser.parse_override(text)
        except HydraException as error:
            raise RunError(f"{run.folder}/overrides.yaml is damaged: {text[:100]!r} is no override.") from error
    return [text for text in run.overrides if key_of(text) not in _OWN]


def script(made: Reproduction, out: Path) -> str:
    """A shell script that makes the run again below the new folder `out`, with packages of its own."""
    out = out.absolute()
    head = [f"Reproduces {made.run.name}: commit {made.commit or 'unknown'}, Python {made.python}.", *made.notes]
    if made.commit is None:
        version = made.packages.get("nic-lightning", "unknown")
        head.append(f"nic_lightning did not run from a git checkout: it was version {version}, installed as a package.")
    elif made.checkout is None:
        head.append("No known checkout has the commit: set CHECKOUT to one that has.")
    comments = [f"# {printable(line)}" for line in head]
    lines = ["#!/bin/sh", *comments, "set -eu"]
    lines += [f"OUT={shlex.quote(str(out))}", 'mkdir -p "$(dirname "$OUT")"', 'mkdir "$OUT"']
    source = f"nic-lightning=={made.packages.get('nic-lightning', '')}".removesuffix("==")
    if made.commit is not None:
        lines += [f"CHECKOUT={shlex.quote(str(made.checkout))}" if made.checkout else ': "${CHECKOUT:?}"']
        lines += ['git clone --quiet --no-checkout "$CHECKOUT" "$OUT/source"']
        lines += [f'git -C "$OUT/source" checkout --quiet --detach {made.commit}']
        if made.diff:
            diff = shlex.quote(str(made.run.folder.resolve() / "git.diff"))
            lines += [f'git -C "$OUT/source" apply {diff}']
        source = '--editable "$OUT/source"'
    lines += ["# Builds are left out (torch 2.9.0 for 2.9.0+cu128): add the index of yours to pip where it matters."]
    lines += ["cat > \"$OUT/constraints.txt\" <<'END'", made.constraints() + "END"]
    version = re.match(r"\d+\.\d+", made.python)
    lines += [f'python{version[0] if version else "3"} -m venv "$OUT/venv"']
    lines += [f'"$OUT/venv/bin/pip" install --quiet -c "$OUT/constraints.txt" {source}']
    if made.folder is not None:
        lines += [f"cd {shlex.quote(str(made.folder))}"]
    arguments = map(shlex.quote, made.arguments(out / "run"))
    lines += ['"$OUT/venv/bin/nic-train" ' + " ".join(arguments)]
    return "\n".join(lines) + "\n"


def git(folder: Path, *arguments: str, data: bytes | None = None) -> tuple[bool, str]:
    """Whether a git command in `folder` went well, and what it printed; hooks and prompts are off."""
    command = ["git", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, input=data or b"", capture_output=True, check=False)
    except OSError as error:
        raise RunError(f"git cannot be run: {error.strerror}.") from error
    return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
