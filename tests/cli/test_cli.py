"""The front door of `nic`: help, wrong command lines, how commands end."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lightning import __version__, cli
from nic_lightning.commands import check
from nic_lightning.errors import READER_GONE, UserError, readers_may_leave


def test_help_and_version(capsys) -> None:
    for flag, text in (("--help", "decompress"), ("--version", __version__)):
        assert cli.main([flag]) == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["runs"], ["data"], ["bench"]])
def test_without_a_command_it_prints_its_help_in_order(arguments: list[str], capsys) -> None:
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: {' '.join(['nic', *arguments])} ")
    groups = [re.findall(r"^│ (\w+)", group, re.MULTILINE) for group in out.split("╰")]
    assert sum(map(len, groups)) > 2
    assert groups == [sorted(group) for group in groups]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspct"], "nic: there is no 'inspct': did you mean 'inspect'? There are amortisation, bd, bench, "),
        (["data", "chek", "x"], "nic data: there is no 'chek': did you mean 'check'?"),
        (
            ["export", "r"],
            "nic export: the following arguments are required: -o/--out. See `nic export --help`.",
        ),
        (
            ["compress", "a.png", "-o", "o", "--run", "r", "--bpp", "1", "--psnr", "3"],
            "nic compress: argument --psnr: not allowed with argument --bpp. See",
        ),
        (["inspect", "--size", "0x5"], "'0x5' is not an image size"),
        (["inspect", "--size", "00x5"], "'00x5' is not an image size; write height x width"),
        (["bench", "codec", "--size", "512"], "'512' is not an image size; write height x width"),
        (["bench", "slimmable", "--size", "512,768"], "'512,768' is not an image size; write height x width"),
        (["bench", "flow", "--size", "large"], "'large' is not an image size; write width x height"),
        (["inspect", "codec=foo"], "There is no codec 'foo'"),
        (["data", "check", "kodac"], "kodak"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(arguments, sentence: str, refused) -> None:
    assert sentence in refused(*arguments)


def test_the_front_door_imports_nothing_heavy() -> None:
    code = (
        "import sys; from nic_lightning import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'hydra', 'omegaconf', 'numpy', 'pytorch_lightning'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_endings(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def ending(error: BaseException):
        def run() -> None:
            raise error

        return run

    monkeypatch.setattr(check, "check", ending(KeyboardInterrupt()))
    assert cli.main(["check"]) == 130
    monkeypatch.setattr(check, "check", ending(UserError("No.")))
    assert cli.main(["check"]) == 2
    assert capsys.readouterr().err == "No.\n"
    monkeypatch.setattr(check, "check", ending(OSError(errno.ENOSPC, "full", "a/b")))
    assert cli.main(["check"]) == 2
    assert capsys.readouterr().err.startswith("a/b cannot be used: No space left on device; ")
    monkeypatch.setattr(check, "check", ending(OSError(errno.EBADF, "bad")))
    with pytest.raises(OSError, match="bad"):
        cli.main(["check"])
    monkeypatch.setattr(check, "check", ending(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["check"])


CLI = "import sys; from nic_lightning.cli import main; sys.exit(main({}))"

EACH = """
import sys
from pathlib import Path
from nic_lightning.commands.file_by_file import each
from nic_lightning.errors import readers_may_leave
with readers_may_leave():
    sys.exit(each([Path("a"), Path("b")], Path("."), ".png", lambda source, target: "written", False))
"""

SCRIPTS = {
    "nic data list": [sys.executable, "-c", CLI.format("['data', 'list']")],
    "nic bench": [sys.executable, "-c", CLI.format("['bench', 'flow', '--help']")],
    "for each file": [sys.executable, "-c", EACH],
    "nic-train --help": [sys.executable, "-m", "nic_lightning.train", "--help"],
    "nic-train --cfg job": [sys.executable, "-m", "nic_lightning.train", "--cfg", "job"],
    "nic-evaluate --help": [sys.executable, "-m", "nic_lightning.evaluate", "--help"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_reader_that_goes_away_is_no_error(name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(SCRIPTS[name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == READER_GONE


def test_a_broken_pipe_to_somebody_else_is_an_error() -> None:
    with pytest.raises(BrokenPipeError), readers_may_leave():
        raise BrokenPipeError
