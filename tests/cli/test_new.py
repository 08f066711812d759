"""`nic new`, and packages of a user's own: what is written, what is refused, where configs are found."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from nic_lightning import cli, own_packages
from nic_lightning.config import compose, options
from nic_lightning.errors import RunError
from nic_lightning.runs.settings.trust import require_known_targets

ENTRY = "[nic_lightning.packages]\nmy_lab = my_lab\n"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, importable and not installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NIC_CODEC_PACKAGES", raising=False)
    assert cli.main(["new", "project", "my_lab"]) == 0
    monkeypatch.syspath_prepend(str(tmp_path / "my_lab"))
    return tmp_path / "my_lab"


def _install(project: Path) -> None:
    """As pip notes an editable installation: metadata beside what is imported."""
    about = project / "my_lab-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_lab\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(ENTRY)
    own_packages._installed.cache_clear()


@pytest.fixture(autouse=True)
def entry_points_read_anew():
    own_packages._installed.cache_clear()
    yield
    own_packages._installed.cache_clear()


def test_configs_of_an_installed_package_are_found_and_its_classes_may_be_named(lab: Path):
    own = {"_target_": "my_lab.codecs.patches.Patches"}
    assert "patches" not in options("codec")
    with pytest.raises(RunError, match=r"names 'my_lab\.codecs\.patches\.Patches'"):
        require_known_targets(own)
    _install(lab)
    assert "patches" in options("codec")
    require_known_targets(own)
    config = compose(overrides=["experiment=patches_small", "codec.width=8"])
    assert config.codec == {**own, "width": 8, "latents": 48, "lmbda": 256}
    assert config.task.kernel_penalty == 1e-3
    assert config.task.distortion == "mse"  # of our task, which theirs extends
    with pytest.raises(RunError, match=r"names 'my_laboratory\.Codec'"):
        require_known_targets({"_target_": "my_laboratory.Codec"})


def test_the_variable_names_packages_too(lab: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NIC_CODEC_PACKAGES", "absent_package, my_lab")
    assert own_packages.own_packages() == ["absent_package", "my_lab"]
    assert own_packages.own_conf_dirs() == (lab / "my_lab" / "conf",)
    assert compose(overrides=["codec=patches"]).codec.latents == 48


def test_a_name_that_two_packages_have_is_not_guessed(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from nic_lightning import train

    monkeypatch.setenv("NIC_CODEC_PACKAGES", "my_lab")
    (lab / "my_lab" / "conf" / "codec" / "cae.yaml").write_text("_target_: my_lab.codecs.patches.Patches\n")
    monkeypatch.setattr(sys, "argv", ["nic-train", "codec=cae", "logger=none"])
    with pytest.raises(SystemExit) as stop:
        train.main()
    assert stop.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("codec=cae may be ")
    assert sentence.endswith(f" or {lab / 'my_lab' / 'conf' / 'codec' / 'cae.yaml'}: rename the one that is yours.\n")


def test_a_new_codec_is_two_files_that_compose(lab: Path, monkeypatch: pytest.MonkeyPatch):
    before = {path for path in lab.rglob("*") if path.is_file()}
    assert cli.main(["new", "codec", "two_waves", "--project", str(lab)]) == 0
    made = {path for path in lab.rglob("*") if path.is_file()} - before
    assert made == {lab / "my_lab" / "codecs" / "two_waves.py", lab / "my_lab" / "conf" / "codec" / "two_waves.yaml"}
    monkeypatch.setenv("NIC_CODEC_PACKAGES", "my_lab")
    assert compose(overrides=["codec=two_waves"]).codec._target_ == "my_lab.codecs.two_waves.TwoWaves"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("My-Lab", "cannot be the name of a project"),
        ("../lab", "cannot be the name of a project"),
        ("a" * 51, "50 characters at most"),
        ("lab\n", "cannot be the name of a project"),
        ("class", "means something else to Python or YAML"),
        ("null", "means something else to Python or YAML"),
        ("json", "is a module of Python's standard library"),
        ("torch", "is a package that is installed already"),
        ("nic_lightning", "is a package that is installed already"),
    ],
)
def test_names_that_would_not_work_are_refused(name: str, reason: str, tmp_path: Path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert reason in refused("new", "project", name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_or_half_written(lab: Path, monkeypatch: pytest.MonkeyPatch, refused):
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in lab.rglob("*") if path.is_file()}

    before = files()
    assert "exists already" in refused("new", "project", "my_laboratory", "-o", lab)
    assert "There is a codec 'patches' already" in refused("new", "codec", "patches", "--project", lab)
    assert "There is a codec 'cae' already" in refused("new", "codec", "cae", "--project", lab)
    assert "is no folder" in refused("new", "codec", "waves", "--project", lab / "absent")
    assert "has no package with a folder conf/" in refused("new", "codec", "waves", "--project", lab / "tests")
    taken = lab / "my_lab" / "codecs" / "waves.py"
    taken.write_text("mine")
    assert f"{taken} exists already" in refused("new", "codec", "waves", "--project", lab)
    taken.unlink()

    def full(_path: Path, *_args, **_kwargs):
        raise OSError(28, "No space left on device", str(_path))

    monkeypatch.setattr("os.link", _fails_second(full))
    assert "No space left" in refused("new", "codec", "waves", "--project", lab)
    assert files() == before
    monkeypatch.setattr(Path, "rename", full)
    assert "No space left" in refused("new", "project", "other_lab")
    assert sorted(path.name for path in lab.parent.iterdir()) == ["my_lab"]


def _fails_second(fail):
    import os

    link, calls = os.link, []

    def second(source, place):
        calls.append(place)
        if len(calls) == 2:
            fail(place)
        link(source, place)

    return second


def test_the_guide_shows_the_codec_that_is_written(lab: Path):
    guide = (Path(__file__).parents[2] / "docs" / "own_codec.md").read_text()
    shown, config = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert cli.main(["new", "codec", "waves", "--project", str(lab)]) == 0
    assert _code(shown) == _code((lab / "my_lab" / "codecs" / "waves.py").read_text())
    assert (lab / "my_lab" / "conf" / "codec" / "waves.yaml").read_text().endswith(f"codec.width=64.\n{config}")


def _code(source: str) -> str:
    """What is left without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)
