from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from nic_lightning import __version__, cli, conf_tree
from nic_lightning.commands import check
from nic_lightning.commands.app import ACTIONS
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
        (["inspct"], "nic: there is no 'inspct': did you mean 'inspect'? There are bd, bench, "),
        (["data", "chek", "x"], "nic data: there is no 'chek': did you mean 'check'?"),
        (
            ["compress", "a.png", "--run", "r"],
            "nic compress: the following arguments are required: -o/--out. See `nic compress --help`.",
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


def test_data_list(tmp_path: Path, capsys) -> None:
    assert cli.main(["data", "list", "--root", str(tmp_path)]) == 0
    assert "kodak" in capsys.readouterr().out


def test_data_check(tmp_path: Path, capsys) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    assert cli.main(["data", "check", str(tmp_path)]) == 0
    capsys.readouterr()
    (tmp_path / "bad.png").write_bytes(b"nothing")
    assert cli.main(["data", "check", str(tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["present"] == ["good.png"]
    assert "bad.png" in report["damaged"][0]


def test_bench_says_what_it_can_time(capsys) -> None:
    assert cli.main(["bench", "--help"]) == 0
    assert "CompressAI" in capsys.readouterr().out


def test_bench_passes_its_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    bench = types.SimpleNamespace(main=lambda *args, **options: seen.append((args, options)))
    monkeypatch.setitem(sys.modules, "nic_lightning.benchmarks.codec", bench)  # type: ignore[arg-type]
    assert cli.main(["bench", "codec", "--width", "8"]) == 0
    assert seen == [((8,), {"batch": 8, "crop": 240, "size": "512x768", "rounds": 9, "threads": None})]


@pytest.mark.parametrize("kind", ACTIONS["bench"])
def test_help_and_mistakes_of_a_benchmark_come_before_torch(monkeypatch: pytest.MonkeyPatch, capsys, kind: str) -> None:
    monkeypatch.setitem(sys.modules, f"nic_lightning.benchmarks.{kind}", None)  # type: ignore[arg-type]
    for arguments, code in (("--help", 0), ("--wdith=3", 2)):
        assert cli.main(["bench", kind, arguments]) == code
    said = capsys.readouterr()
    assert f"Usage: nic bench {kind}" in said.out
    near = {"codec": "; did you mean --width?", "slimmable": "; did you mean --widths?"}.get(kind, ".")
    assert said.err.splitlines() == [
        f"nic bench {kind}: unrecognized arguments: --wdith=3{near} See `nic bench {kind} --help`."
    ]
    count = {"flow": "--repeats", "report": "--runs"}.get(kind, "--rounds")
    assert cli.main(["bench", kind, count, "0"]) == 2
    assert capsys.readouterr().err == f"{count} is at least 1, not 0.\n"


def test_inspect(capsys) -> None:
    assert cli.main(["inspect", "codec=cae"]) == 0
    text = capsys.readouterr().out
    assert "4,002,819" in text
    assert cli.main(["inspect", "codec=cae", "codec.width=48", "--json", "--size", "64x96"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["parameters"] == 268_035
    assert (cost["height"], cost["width"]) == (64, 96)


def test_inspect_latency(slim_run: Path, capsys) -> None:
    command = ["inspect", "codec=slimmable", "codec.widths=[4,8]", "--size", "32x48", "--latency", "--repeat", "2"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "medians of 2 rounds in which the points take turns" in text
    assert text.count("          w4  ") == 3
    assert cli.main(["inspect", "--run", str(slim_run), "--size", "32x48", "--latency", "--repeat", "2", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert [p["label"] for p in cost["points"]] == [p["label"] for p in cost["latency_ms"]] == ["w4", "w8", "w16"]
    for point in cost["latency_ms"]:
        for stage in ("analysis", "synthesis", "encoding", "decoding"):
            assert 0 < point[stage]["low"] <= point[stage]["median"] <= point[stage]["high"]
    assert cli.main(["inspect", "codec=cae", "--run", str(slim_run)]) == 2
    assert capsys.readouterr().err == "--run names the codec; leave codec=cae out.\n"
    assert cli.main([*command[:-1], "0"]) == 2
    assert "give 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "sentence"),
    [("codec.width=abc", "codec.width must be int, not 'abc'."), ("codec=jpeg", "is not a learned codec")],
)
def test_inspect_refuses(override: str, sentence: str, capsys) -> None:
    assert cli.main(["inspect", "codec=cae", override] if "." in override else ["inspect", override]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.no_cover  # it walks the lines of `test_check_finds_what_is_wrong` a hundred times
def test_every_config_is_sound(capsys) -> None:
    assert cli.main(["check", "--no-files"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.endswith("configs checked, 0 with problems.\n")


def test_check_names_config_and_problem(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(check, "check_configs", lambda dirs: {"train": [], "codec=x": ["Wrong."]})
    assert cli.main(["check", "--no-files"]) == 1
    assert capsys.readouterr().out == "codec=x\n  Wrong.\n2 configs checked, 1 with problems.\n"


def test_a_config_that_does_not_compose_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "GROUPS", ())
    monkeypatch.setattr(conf_tree, "CONF_DIR", conf_tree.CONF_DIR / "codec")
    assert all(len(problems) == 1 for problems in check.check_configs().values())


MINE = """
from nic_lightning.codecs.cae import CompressiveAutoencoder

class Mine(CompressiveAutoencoder):
    pass

class Forgetful(Mine):
    def encode_latents(self, y, point):
        strings, latents = super().encode_latents(y, point)
        return [strings[0][:0]], latents
"""


@pytest.fixture
def own_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A --config-dir with a sound and a faulty codec of a package of one's own."""
    (tmp_path / "own_codecs.py").write_text(MINE)
    (tmp_path / "own" / "codec").mkdir(parents=True)
    for name in ("Mine", "Forgetful"):
        text = f"_target_: own_codecs.{name}\nwidth: 8\nlmbda: 64\n"
        (tmp_path / "own" / "codec" / f"{name.lower()}.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "own"


def test_inspect_and_check_try_the_files_of_own_codecs(
    own_configs: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    own = ["--config-dir", str(own_configs)]
    assert cli.main(["inspect", "codec=mine", "--json", "--size", "32x32", *own]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == "written and read at every operating point"
    assert cli.main(["inspect", "codec=forgetful", "--size", "32x32", *own]) == 2
    assert "The codec's files were tried, and do not work: " in capsys.readouterr().err
    monkeypatch.setattr(check, "GROUPS", ("codec",))
    monkeypatch.setattr(check, "options", lambda group, dirs=(): [p.stem for d in dirs for p in (d / group).iterdir()])
    assert cli.main(["check", *own]) == 1
    out = capsys.readouterr().out
    assert out.startswith("codec=forgetful\n  The codec's files were tried")
    assert out.endswith("4 configs checked, 1 with problems.\n")
    assert cli.main(["check", "--no-files", *own]) == 0
    assert cli.main(["check", "--config-dir", "nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


@pytest.mark.slow  # builds every codec at its full size
def test_every_codec_of_ours_writes_and_reads_a_file(capsys) -> None:
    assert cli.main(["check"]) == 0, capsys.readouterr().out


def test_check_finds_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import shutil

    shutil.copytree(conf_tree.CONF_DIR, tmp_path / "conf")
    broken = tmp_path / "conf" / "codec" / "broken.yaml"
    broken.write_text("_target_: nic_lightning.codecs.cae.CompressiveAutoencoder\nwidht: 3\n")
    monkeypatch.setattr(conf_tree, "CONF_DIR", tmp_path / "conf")
    monkeypatch.setattr(check, "GROUPS", ("logger", "codec", "launch", "sweep"))
    keep = {"codec": ("modulated", "broken"), "launch": (), "sweep": ()}
    for path in (path for group in keep for path in (tmp_path / "conf" / group).iterdir()):
        if path.stem not in keep[path.parent.name]:
            path.unlink()
    monkeypatch.setitem(conf_tree.LAUNCHERS, "absent", "extra")
    presets = {
        "launch/wrong": "trainer:\n  devicez: 2\n",
        "launch/far": "defaults:\n  - override /hydra/launcher: absent\n",  # an extra that is not installed
        "sweep/good": "hydra:\n  sweeper:\n    params:\n      codec.width: 8,16\n",
        "sweep/wrong": "hydra:\n  sweeper:\n    params:\n      codec.widht: 8,16\n",
    }
    for name, text in presets.items():
        (tmp_path / "conf" / f"{name}.yaml").write_text(f"# @package _global_\n{text}")
    assert cli.main(["check", "--json", "--no-files"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found["problems"]) == ["codec=broken", "launch=wrong", "sweep=wrong"]
    assert "sweep=good" in found["checked"]
    assert "launch=far" not in found["checked"]
    assert "did you mean 'devices'?" in found["problems"]["launch=wrong"][0]
    assert "There is no key 'codec.widht'" in found["problems"]["sweep=wrong"][0]
    assert "did you mean 'width'?" in found["problems"]["codec=broken"][0]
