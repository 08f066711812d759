"""Training of InterpoNet on matches made of true flow: that it learns, becomes a file, and makes flow dense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from nic_lightning.callbacks.progress import summary
from nic_lightning.data.flow_matches import MatchCrops, MatchesDataModule, crop_of, simulated_matches
from nic_lightning.data.flow_training import FlowDataModule
from nic_lightning.data.motion import Scene
from nic_lightning.errors import DataError, UserError
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.interponet import InterpoNet, interpolate_by, load_interponet, network_input
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.settings import preset
from nic_lightning.losses.flow_interpolation import end_point_error, lateral_dependency
from nic_lightning.tasks.interponet import InterpoNetTask


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two small pictures of texture."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(2):
        coarse = np.random.default_rng(seed).integers(0, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90, 90), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder


def fit(data: FlowDataModule, steps: int, folder: Path, **task):
    torch.manual_seed(0)
    learner, losses = InterpoNetTask(**({"widths": [8, 8], "learning_rate": 0.003} | task)), []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_) -> None:
            losses.append({name: float(value) for name, value in pl_module.latest.items()})

    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
        callbacks=[Watch()],
    )
    trainer.fit(learner, datamodule=data)
    return learner, trainer, losses


def test_it_learns_and_becomes_a_file_that_the_pipeline_takes(tmp_path, photographs, capsys):
    small = {"ratio": 3, "crop": 16, "batch_size": 4, "samples_per_epoch": 160, "largest": 20.0, "workers": 0}
    data = MatchesDataModule([str(photographs)], validation=str(photographs), validation_side=48, **small)
    task, trainer, steps = fit(data, 40, tmp_path)
    first, last = (np.mean([step["train/loss"] for step in part]) for part in (steps[:5], steps[-5:]))
    assert last < 0.85 * first
    assert "end-point error" in summary(steps[-1])
    names = {f"val/{photographs.name}/{name}" for name in ("epe", "epe_noc", "epe_occ")}
    assert names <= set(trainer.callback_metrics)
    task.finish(tmp_path)
    file = tmp_path / "interponet.safetensors"
    assert f"interpolation_weights={file}" in capsys.readouterr().out
    trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    for place in (tmp_path, file):
        found = load_interponet(place)
        assert all(torch.equal(v, task.network.state_dict()[name]) for name, v in found.state_dict().items())
    frames = [np.random.default_rng(t).integers(0, 256, (60, 75, 3), dtype=np.uint8) for t in range(2)]
    config = preset(
        "dcflow",
        max_displacement=9,
        refinement=None,
        strategy="large_regions",
        interpolation="interponet",
        interpolation_weights=str(tmp_path),
    )
    result = Pipeline(config, FeatureNetwork().eval()).run(None, *frames)
    assert result.flow.shape == (60, 75, 2)
    np.testing.assert_array_equal(result.flow, interpolate_by(found, frames[0], result.stages["matches"]))
    task.start_from(str(file))
    with pytest.raises(UserError, match="layers of other widths"):
        InterpoNetTask([8]).start_from(str(file))


def test_what_the_network_sees():
    image = np.zeros((20, 30, 3), np.float32)
    image[:, 17:] = 0.5
    matches = np.float32([[1, 1, 9, 1], [6, 7, 14, 15], [29, 19, 21, 3], [31, 40, 0, 0], [-1, 0, 5, 5]])
    seen = network_input(image, matches)
    assert seen.shape == (4, 3, 4)
    np.testing.assert_array_equal(seen[:2, 0, 0], [1, 0.5])
    np.testing.assert_array_equal(seen[:2, 2, 3], [-1, -2])
    there = np.zeros((3, 4), bool)
    there[0, 0] = there[2, 3] = True
    np.testing.assert_array_equal(seen[2], np.where(there, 1, -1))
    assert not seen[:2, ~there].any()
    np.testing.assert_allclose(seen[3], np.tile([0, 0, 0.5, 0], (3, 1)), atol=1e-4)
    network = InterpoNet([4]).eval()
    flow = interpolate_by(network, image, matches)
    assert flow.shape == (20, 30, 2)
    last = network(torch.from_numpy(seen)[None])[-1]
    assert torch.equal(network.last(torch.from_numpy(seen)[None]), last)
    assert np.abs(flow).max() <= 8 * 1.5 * float(last.detach().abs().max())  # pixels, and bicubic weights overshoot


def test_losses_by_hand():
    truth = torch.zeros(1, 2, 2, 2)
    flow = truth.clone()
    flow[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    known = torch.ones(1, 2, 2, dtype=torch.bool)
    assert end_point_error(flow, truth, known).item() == pytest.approx(5 / 4, abs=0.01)
    assert lateral_dependency(flow, truth, known).item() == pytest.approx(10 / 4, abs=0.01)
    assert lateral_dependency(flow + 7, truth, known).item() == pytest.approx(10 / 4, abs=0.01)
    known[0, 0, 0] = False
    assert end_point_error(flow, truth, known).item() == pytest.approx(0, abs=0.01)
    assert lateral_dependency(flow, truth, known).item() == pytest.approx(0, abs=0.01)
    assert end_point_error(flow, truth, known & False).item() == 0
    flow.requires_grad_()
    (end_point_error(flow, truth, known | True) + lateral_dependency(flow, truth, known | True)).backward()
    assert torch.isfinite(flow.grad).all()


def test_matches_are_true_labels_but_for_a_few(photographs):
    flow = np.full((90, 120, 2), (7.4, -3), np.float32)
    flow[:, 90:] = np.nan
    hidden = np.zeros((90, 120), bool)
    hidden[:30] = True
    right, shares = [], []
    for seed in range(20):
        found = simulated_matches(flow, hidden, 3, torch.Generator().manual_seed(seed))
        good = (found[:, 2:] - found[:, :2] == (6, -3)).all(-1)
        right.append(good.mean())
        shares.append(good.sum() / (20 * 30))
        x, y = found[good, 0], found[good, 1]
        assert x.max() < 90
        assert y.min() > 30
        assert (x % 3 == 1).all()
    assert min(right) > 0.7
    assert max(right) == 1
    assert 0.2 < min(shares) < 0.5
    assert 0.8 < max(shares) <= 1
    scene = Scene("one", None, np.zeros((90, 120, 3), np.uint8), np.zeros((90, 120, 3), np.uint8), flow, hidden)
    crop = crop_of(scene, 64, 3, torch.Generator().manual_seed(1))
    assert crop.inputs.shape == (4, 8, 8)
    assert crop.known.any()
    assert torch.allclose(crop.truth[:, crop.known].T, torch.tensor([7.4, -3]) / 8)
    data = MatchesDataModule([str(photographs)], ratio=3, crop=8, largest=4.0, workers=0)
    data.setup("fit")
    samples = data._training_set(data.train_images)
    assert isinstance(samples, MatchCrops)
    assert all(torch.equal(a, b) for a, b in zip(samples[0, 1], samples[0, 1], strict=True))
    assert not torch.equal(samples[0, 1].inputs, samples[1, 1].inputs)


def test_wrong_data_and_weights_end_in_a_sentence(tmp_path, photographs):
    with pytest.raises(DataError, match="multiple of 8"):
        MatchesDataModule([str(photographs)], crop=9).setup("fit")
    with pytest.raises(UserError, match="give data=flow_matches"):
        fit(FlowDataModule([str(photographs)], ratio=1, crop=8, workers=0), 1, tmp_path)
    with pytest.raises(UserError, match="weights of at least 0"):
        InterpoNetTask(detours=-1)
    with pytest.raises(UserError, match="widths"):
        InterpoNet([])
    with pytest.raises(UserError, match="give interpolation_weights=DIR"):
        preset("dcflow", interpolation="interponet")
    with pytest.raises(DataError, match="no weights of InterpoNet at"):
        load_interponet(tmp_path / "none")
    for name, content in (("cut.ckpt", b"PK"), ("bad.safetensors", b"\xff" * 40), ("other.ckpt", None)):
        path = tmp_path / name
        if content is None:
            torch.save({"state_dict": {"network.conv1.weight": torch.zeros(2)}}, path)
        else:
            path.write_bytes(content)
        with pytest.raises(DataError, match="holds no weights of InterpoNet"):
            load_interponet(path)
