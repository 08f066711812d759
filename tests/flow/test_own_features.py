"""Features that were trained here, as files: runs, checkpoints, .npz and .safetensors, and what is none of these."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from nic_lightning.errors import DataError, UserError
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.settings import FlowConfig, preset
from nic_lightning.flow.weights import SHAPES, load_lambdas, load_weights, to_npz

LAMBDAS = (0.25, 0.125, 0.625)


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    return {name: np.ascontiguousarray(value) for name, value in FeatureNetwork().state_dict().items()}


@pytest.fixture
def run(tmp_path, tensors):
    """A run folder with a checkpoint, and the same weights in other files."""
    (tmp_path / "checkpoints").mkdir()
    state = {f"network.{name}": torch.from_numpy(value) for name, value in tensors.items()}
    state["weighting.logits"] = torch.zeros(3)
    torch.save({"state_dict": state, "lambdas": list(LAMBDAS), "epoch": 3}, tmp_path / "checkpoints" / "last.ckpt")
    (tmp_path / "features.npz").write_bytes(to_npz(tensors, LAMBDAS))
    save_file(tensors | {"lambdas": np.array(LAMBDAS)}, tmp_path / "features.safetensors")
    return tmp_path


def test_every_kind_of_file_holds_the_same(run, tensors):
    for place in (run, run / "checkpoints" / "last.ckpt", run / "features.npz", run / "features.safetensors"):
        found = load_weights(place)
        assert found.keys() == SHAPES.keys()
        assert all(np.array_equal(found[name], tensors[name]) for name in SHAPES)
        assert load_lambdas(place) == LAMBDAS
        FeatureNetwork.from_file(place)
        assert preset("timcflow", weights=str(place), lambdas="learned").lambdas == LAMBDAS
    assert to_npz(tensors, LAMBDAS) == (run / "features.npz").read_bytes()


def test_lambdas_that_nobody_learned_are_missed(tmp_path, tensors):
    path = tmp_path / "plain.npz"
    path.write_bytes(to_npz(tensors))
    assert FlowConfig(weights=str(path)).lambdas == (0, 0, 1)
    with pytest.raises(DataError, match=r"plain\.npz holds no learned lambdas; give three numbers"):
        FlowConfig(weights=str(path), lambdas="learned")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="three numbers, or 'learned', not 'best'"):
        FlowConfig(lambdas="best")  # pyright: ignore[reportArgumentType]
    for wrong in ((0.0, 0.0, 0.0), (1.0, np.nan, 0.0), (-1.0, 1.0, 1.0), (np.inf, 1.0, 1.0)):
        path.write_bytes(to_npz(tensors, wrong))
        with pytest.raises(DataError, match="damaged: its lambdas"):
            load_lambdas(path)


class Trap:
    """Pickled code."""

    def __reduce__(self):
        return (print, ("executed",))


def test_checkpoints_that_are_none_are_refused_and_nothing_is_executed(run, tmp_path, capsys):
    with pytest.raises(DataError, match=r"no feature weights at .*last\.ckpt; give a run"):
        load_weights(tmp_path / "checkpoints")
    path = run / "checkpoints" / "last.ckpt"
    whole = path.read_bytes()
    torch.save({"state_dict": {"codec.g_a": torch.zeros(3)}}, path)
    with pytest.raises(DataError, match=r"conv1\.weight should be .* no such tensor"):
        load_weights(run)
    torch.save({"state_dict": Trap()}, path)
    with pytest.raises(DataError, match="no intact checkpoint"):
        load_weights(run)
    for damaged in (whole[:-100], whole[: len(whole) // 2], b"PK", b"", pickle.dumps(Trap())):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as feature weights"):
            load_weights(run)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
    path.write_bytes(bomb.getvalue())
    with pytest.raises(DataError, match="unpacks to more"):
        load_weights(run)
    (run / "features.safetensors").write_bytes(b"\xff" * 200)
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(run / "features.safetensors")
    assert "executed" not in capsys.readouterr().out
