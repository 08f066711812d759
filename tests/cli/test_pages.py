"""Pages of help of `nic`, how command lines are read, and what Tab completes."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.codecs.receiver import DECLARED
from nic_lightning.commands.app import ACTIONS, COMMANDS, build_app
from nic_lightning.media.base import all_media

NAMES = [name for names in COMMANDS.values() for name in names]
PAGES = [[], *([name] for name in NAMES), *([name, action] for name in ACTIONS for action in ACTIONS[name])]
RECEIVER = {option.name for options in DECLARED.values() for option in options}
DECLARED_ELSEWHERE = {"decompress": RECEIVER, "compress": {key for medium in all_media() for key in medium.targets}}
"""Options whose help stands where codecs and media are declared."""
"""Options of `nic decompress`, which have their text from the codec."""
BASH = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
COMP_POINT=${#COMP_LINE}
_nic
printf '%s\\n' "${COMPREPLY[@]}"
"""


def page(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def parsed(*arguments: str) -> dict[str, object]:
    """What a command's function would be called with."""
    _, bound, _ = build_app().parse_args(arguments, exit_on_error=False, print_error=False)
    return bound.arguments


@pytest.mark.parametrize("arguments", PAGES, ids=" ".join)
def test_a_page_says_what_the_command_does_and_has_examples_that_parse(arguments, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text, examples = page(arguments, capsys).split("\nExamples:\n")
    usage, said = text.split("\n\n")[:2]
    assert usage.startswith(" ".join(["Usage: nic", *arguments]))
    assert re.fullmatch(r"[A-Z].*[.:]", said, re.DOTALL), said
    assert "`" not in text
    lines = examples.strip().splitlines()
    assert lines
    for line in lines:
        _, *words = shlex.split(line.split(" > ")[0])
        assert words[: len(arguments)] == arguments
        parsed(*words)


@pytest.mark.parametrize("arguments", [path for path in PAGES if path and path[-1] not in ACTIONS], ids=" ".join)
def test_the_docstring_has_a_text_for_every_parameter(arguments) -> None:
    app = build_app()
    for name in arguments:
        app = app[name]
    function = app.default_command
    assert function is not None
    section = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    declared = DECLARED_ELSEWHERE.get(arguments[-1], set())
    parameters = [name for name in inspect.signature(function).parameters if name not in declared]
    assert re.findall(r"^    (\w+): \S", section, re.MULTILINE) == parameters


def test_help_lists_commands_in_groups_without_importing_one(capsys) -> None:
    out = page([], capsys)
    found = {title: set(re.findall(r"^│ (\w+) ", body, re.MULTILINE)) for title, body in _panels(out)}
    assert {title: found[title] for title in COMMANDS} == {title: set(names) for title, names in COMMANDS.items()}
    code = (
        "import sys; from nic_lightning import cli; cli.main(['--help']); "
        "print(*sorted(m for m in sys.modules if m.startswith('nic_lightning.commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.split(".")[2] for name in done.stdout.splitlines()[-1].split()}
    assert imported == {"app", "help", "options", "refusals"}


def _panels(out: str) -> list[tuple[str, str]]:
    return re.findall(r"^╭─ (.+?) ─+╮\n(.*?)^╰", out, re.MULTILINE | re.DOTALL)


def test_no_page_needs_torch() -> None:
    code = (
        f"import sys; from nic_lightning import cli\nfor words in {PAGES}:\n"
        "    cli.main([*words, '--help'])\n    assert 'torch' not in sys.modules, words"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


CODING = ("--run", "r", "-o", "o")


def test_how_words_are_read() -> None:
    plain = parsed("compress", "[1].png", "b.png", *CODING, "--bpp", "-1.5")
    assert plain["images"] == [Path("[1].png"), Path("b.png")]
    assert plain["bpp"] == -1.5
    dashes = parsed("compress", "--run", "r", "-o=-out", "--", "-photo.png")
    assert (dashes["out"], dashes["images"]) == (Path("-out"), [Path("-photo.png")])
    assert parsed("compress", "a.png", "--run", "r", "-oDIR")["out"] == Path("DIR")
    assert parsed("compress", "a.png", *CODING, "--point=64", "--point=512")["point"] == "512"
    assert parsed("decompress", "a.nic", *CODING, "--seed", "-3")["seed"] == -3
    assert parsed("export", "r", "-o", "o", "--domains", "cat,dog")["domains"] == ["cat", "dog"]
    assert parsed("export", "r", "-o", "o", "--point", "64", "--point", "512")["points"] == ("64", "512")
    assert parsed("bd", "r", "--published", "vtm", "bpg", "--published", "all")["published"] == ("vtm", "bpg", "all")
    assert parsed("bd", "--published", "vtm", "--csv", "r")["runs"] == (Path("r"),)
    assert parsed("inspect", "codec.widths=[4,8]", "~data", "--json")["overrides"] == ("codec.widths=[4,8]", "~data")
    assert parsed("resume", "r", "trainer.max_steps=9", "--force")["overrides"] == ("trainer.max_steps=9",)
    assert parsed("bench", "slimmable", "--widths", "4,8")["widths"] == (4, 8)
    assert parsed("runs", "list", "--state", "failed", "--state", "running")["states"] == ("failed", "running")


def test_a_tag_to_take_away_may_look_like_an_option(capsys, monkeypatch, tmp_path) -> None:
    seen = []
    monkeypatch.setattr("nic_lightning.commands.runs.tag.change_tags", lambda run, changes: seen.append(changes) or [])
    monkeypatch.setattr("nic_lightning.commands.runs.tag.one_run", lambda folder: folder)
    assert cli.main(["runs", "tag", "r", "+new", "-old", "-h", "--help", "-n=1"]) == 0
    assert seen == [["+new", "-old", "-h", "--help", "-n=1"]]
    for flag in ("-h", "--help"):
        capsys.readouterr()
        assert cli.main(["runs", "tag", flag]) == 0
        assert "+paper -draft" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("export a", "nic export: the following arguments are required: -o/--out. See"),
        ("grid", "nic grid: the following arguments are required: RUN, --images, -o/--out. See"),
        ("compress a.png --run", "nic compress: argument --run: expected an argument. See"),
        ("compress a.png --run r -o o --bpp x", "nic compress: argument --bpp: invalid float value: 'x'. See"),
        ("compress a.png --run r -o o --overwrit", "unrecognized arguments: --overwrit; did you mean --overwrite? See"),
        ("compress a.png --run r -o o --no-overwrite", "unrecognized arguments: --no-overwrite; did you mean --over"),
        ("compress -photo.png --run r -o o", "nic compress: unrecognized arguments: -photo.png. See"),
        # cyclopts would round it: findings/cyclopts_int.sh
        ("decompress a --run r -o o --seed 1.5", "nic decompress: argument --seed: invalid int value: '1.5'. See"),
        ("bd --kind foo", "nic bd: there is no 'foo': there are rate, quality. See `nic bd --help`."),
        ("bd --metric pnsr", "nic bd: there is no 'pnsr': did you mean 'psnr'? There are psnr, ms_ssim_db, "),
        ("bd --draws -1", "nic bd: argument --draws: '-1' is not a whole number from 0 to 100,000. See"),
        ("bd --pareto --hull", "nic bd: argument --hull: not allowed with argument --pareto. See"),
        ("bd --latex --json", "not allowed with argument --"),
        ("bench slimmable --widths a,b", "'a,b' is no list of numbers, such as 48,96,192. See"),
        ("dashboard a b", "nic dashboard: unrecognized arguments: b. See"),
        ("runs list --sort losss", "nic runs list: there is no 'losss': did you mean 'loss'? There are name, state, "),
        ("runs tag", "nic runs tag: the following arguments are required: RUN. See `nic runs tag --help`."),
        ("check --json=maybe", "nic check: argument --json: invalid bool value: 'maybe'. See"),
        ("--verbose", "nic: unrecognized arguments: --verbose. See `nic --help`."),
    ],
)
def test_a_mistake_is_one_sentence(command: str, sentence: str, refused) -> None:
    assert sentence in refused(*command.split())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory):
    """What bash completes where the script of `nic completion` is loaded and `nic` is on PATH."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "bin").mkdir()
    program = folder / "bin" / "nic"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m nic_lightning.cli "$@"\n')
    program.chmod(0o755)
    (folder / "work").mkdir()
    (folder / "work" / "two words.png").touch()
    (folder / "work" / "runs").mkdir()
    root = str(Path(cli.__file__).parents[1])
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": root}
    script = folder / "nic.bash"
    with script.open("w") as file:
        subprocess.run([program, "completion", "bash"], env=environment, stdout=file, check=True)

    def complete(*words: str) -> list[str]:
        command = ["bash", "--norc", "-c", BASH, "bash", str(script), *words]
        done = subprocess.run(command, cwd=folder / "work", env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]

    return complete


def test_bash_completes_commands_options_choices_and_files(shell) -> None:
    assert set(NAMES) <= set(shell("nic", ""))
    assert sorted(shell("nic", "comp")) == ["compare", "completion", "compress"]
    assert set(shell("nic", "compress", "--")) == {
        "--run", "--out", "--quality", "--max-bytes", "--point", "--mode", "--bpp", "--bits", "--psnr", "--max-macs",
        "--max-latency-ms", "--overwrite", "--help",
    }  # fmt: skip
    assert set(shell("nic", "runs", "l")) == {"list"}
    assert "--state" in shell("nic", "runs", "list", "runs", "--")  # a folder that is called like a command
    assert shell("nic", "bd", "--kind", "q") == ["quality"]
    assert shell("nic", "bd", "--kind", "=", "q") == ["quality"]  # how bash splits --kind=q
    assert shell("nic", "compress", "--run", "ru") == ["runs"]
    assert shell("nic", "compress", "two") == ["two words.png"]
    assert set(shell("nic", "nothing", "--")) == {"--help", "--version"}


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_get_a_script(name: str, capsys) -> None:
    assert cli.main(["completion", name]) == 0
    assert "max-latency-ms" in capsys.readouterr().out
