"""`nic check`: configs of ours and of own packages, sound and faulty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nic_lightning import cli, conf_tree
from nic_lightning.commands import check
from nic_lightning.config import composing


@pytest.mark.no_cover  # it walks the lines of `test_check_finds_what_is_wrong` a hundred times
def test_every_config_is_sound(capsys) -> None:
    assert cli.main(["check", "--no-files"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.endswith("configs checked, 0 with problems.\n")


def test_check_names_config_and_problem(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(check, "check_configs", lambda dirs, compose: {"train": [], "codec=x": ["Wrong."]})
    assert cli.main(["check", "--no-files"]) == 1
    assert capsys.readouterr().out == "codec=x\n  Wrong.\n2 configs checked, 1 with problems.\n"


def test_a_config_that_does_not_compose_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "GROUPS", ())
    monkeypatch.setattr(conf_tree, "CONF_DIR", conf_tree.CONF_DIR / "codec")
    with composing() as compose:
        found = check.check_configs((), compose)
    assert all(len(problems) == 1 for problems in found.values())


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
    assert out.endswith("5 configs checked, 1 with problems.\n")
    assert cli.main(["check", "--no-files", *own]) == 0
    assert cli.main(["check", "--config-dir", "nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_what_a_constructor_refuses_is_a_sentence(capsys) -> None:
    assert cli.main(["inspect", "codec=light", "codec.context=serial"]) == 2
    assert capsys.readouterr().err == "codec.context is 'serial'; it can be means or none.\n"


def test_a_codec_in_a_codec_is_inspected(capsys) -> None:
    small = ["codec.base.width=8", "codec.hidden=4", "codec.side=2", "codec.bins=16"]
    assert cli.main(["inspect", "codec=encoding_distribution", *small, "--size", "32x32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == "written and read at every operating point"


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
