from __future__ import annotations

import pytest

from nic_lightning.baselines.flow_peers import RAFT_NAMES
from nic_lightning.cli import main
from nic_lightning.errors import DataError
from nic_lightning.flow.settings import FlowConfig
from nic_lightning.metrics import weights


@pytest.fixture
def empty(tmp_path, monkeypatch):
    for one in weights.ALL:
        if one.variable:
            monkeypatch.delenv(one.variable, raising=False)
    monkeypatch.setenv("NIC_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def test_what_is_there_and_what_is_not(empty, monkeypatch, capsys):
    assert main(["data", "weights"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("found   not there") == len(weights.ALL)
    for one in weights.ALL:
        assert one.names[0] in printed
        assert (one.variable or one.by_name) in printed
        assert one.find() is None
    assert str(empty / "torch/hub/checkpoints") in printed

    cache = empty / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / weights.ALEXNET.names[0]).write_bytes(b"cut")
    named = empty / "elsewhere.pth"
    named.write_bytes(b"whole")
    monkeypatch.setenv("NIC_INCEPTION", str(named))
    monkeypatch.setenv("NIC_LPIPS", str(empty / "gone.pt"))
    whole = weights.digest(named)
    monkeypatch.setattr(weights, "is_published", lambda _, found: found == whole)
    assert main(["data", "weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  found   {named}" in lines
    digest = weights.digest(cache / weights.ALEXNET.names[0])[:8]
    wrong = f"  found   {cache / weights.ALEXNET.names[0]}, but its sha256 is {digest}...: another file"
    assert wrong in lines
    assert any("NIC_LPIPS names" in line and "does not exist" in line for line in lines)


def test_published_files_are_known_by_the_start_of_their_sha256():
    assert weights.is_published(weights.INCEPTION_2015, "6726825d" + 56 * "0")
    assert not weights.is_published(weights.INCEPTION_2015, "0cc3c7bd" + 56 * "0")
    for one in weights.ALL[:2]:  # their names hold it, as torch's do
        assert all(name.rpartition("-")[2].removesuffix(".pth") in one.sha256 for name in one.names)


def test_files_of_optical_flow_are_those_that_it_looks_for(empty):
    dcflow = {one.key: one.names for one in weights.OTHERS}
    folder = empty / "weights"
    folder.mkdir()
    for kind in ("sintel", "kitti"):
        names = dcflow[f"dcflow_{kind}"]
        assert FlowConfig(weights=kind).weights_file() == folder / names[0]  # the one to ask for
        for name in names:
            (folder / name).write_bytes(b"weights")
            assert FlowConfig(weights=kind).weights_file() == folder / name
            (folder / name).unlink()
    for kind, name in RAFT_NAMES.items():
        assert dcflow[kind] == (name,)
        assert name.endswith(f"-{next(o.sha256 for o in weights.OTHERS if o.key == kind)}.pth")


def test_what_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "large.pth").open("wb") as file:
        file.truncate(weights.MAX_FILE + 1)
    with pytest.raises(DataError, match="too large"):
        weights.digest(tmp_path / "large.pth")
