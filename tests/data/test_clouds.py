"""Sets of labelled clouds: layouts, splits, subsets that follow from the seed, and a restart in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from nic_lightning.config import ConfigError
from nic_lightning.data.catalog import list_table
from nic_lightning.data.cloud_module import CloudDataModule
from nic_lightning.data.cloud_sets import (
    CLOUD_SETS,
    LabelledClouds,
    cloud_rows,
    held_out,
    locate_clouds,
    random_subset,
)
from nic_lightning.data.evaluation_sets import open_sets
from nic_lightning.errors import DataError
from nic_lightning.media.base import find_medium
from nic_lightning.runs.settings.sources import check_data, check_sets
from tests.data.shapes import CLASSES, write_set
from tests.media import clouds

CONF = Path(__file__).resolve().parents[2] / "conf" / "data"


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    return write_set(tmp_path / "shapes")


def module(folder: Path, **changes: Any) -> CloudDataModule:
    arguments = {"points": 32, "batch_size": 5, "validation_fraction": 0.25, "sampled": 64, "workers": 0, "seed": 3}
    made = CloudDataModule(str(folder), **(arguments | changes))
    made.setup("fit")
    return made


def test_folders_of_classes_are_a_set(shapes):
    test = LabelledClouds(locate_clouds(str(shapes)), sampled=64)
    assert test.classes == CLASSES
    assert np.bincount(test.labels).tolist() == [4] * 5
    assert test.points.shape == (20, 64, 3)
    name, points, label = test[5]
    assert (name, label) == ("box_001", 1)
    assert abs(np.linalg.norm(points.astype(np.float64), axis=1).max() - 1) < 0.2  # thinned out after it was scaled
    assert len(locate_clouds(f"{shapes}/train").meshes) == 60


def test_surfaces_are_sampled_once_and_alike(tmp_path, caplog):
    folder = tmp_path / "meshes"
    for kind in ("flat", "tall"):
        for split in ("train", "test"):
            (folder / kind / split).mkdir(parents=True)
            for number in range(2):
                clouds.write(folder / kind / split / f"{number}.off", clouds.off("OFF8 6 0"))
    caplog.set_level("INFO")
    first = LabelledClouds(locate_clouds("meshes", tmp_path), 50, 7)
    assert "sampling 4 surfaces, once" in caplog.text
    caplog.clear()
    again = LabelledClouds(locate_clouds("meshes", tmp_path), 50, 7)
    assert "sampling" not in caplog.text
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points[0], first.points[1])  # each mesh by a seed of its own
    assert not np.array_equal(first.points, LabelledClouds(locate_clouds("meshes", tmp_path), 50, 8).points)
    for damaged in folder.glob(".nic_test_*"):
        damaged.write_bytes(b"\x93NUMPY")
    assert np.array_equal(LabelledClouds(locate_clouds("meshes", tmp_path), 50, 7).points, first.points)
    assert "is damaged" in caplog.text


def test_hdf5_files_of_modelnet_s_layout_are_a_set(tmp_path):
    h5py = pytest.importorskip("h5py")
    folder = tmp_path / "pointclouds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part in range(2):
        with h5py.File(folder / f"sh3d_furniture_test{part}.h5", "w") as file:
            file["data"] = rng.standard_normal((3, 20, 3)).astype(np.float32)
            file["label"] = np.array([[0], [1], [part]], np.uint8)
    (folder / "sh3d_shape_names.txt").write_text("bed\ncar\n")
    found = LabelledClouds(locate_clouds("furniture", tmp_path))
    assert found.classes == ("bed", "car")
    assert found.labels.tolist() == [0, 1, 0, 0, 1, 1]
    assert found.names[3] == "sh3d_furniture_test1_00000"
    (folder / "sh3d_shape_names.txt").write_text("bed\n")
    with pytest.raises(DataError, match="label 1 is none of its 1 classes"):
        LabelledClouds(locate_clouds("furniture", tmp_path))


def test_what_is_missing_is_said(tmp_path, shapes):
    with pytest.raises(DataError, match=r"ModelNet40 of data set 'modelnet40' is missing: get it from"):
        locate_clouds("modelnet40", tmp_path)
    with pytest.raises(DataError, match="furniture"):
        locate_clouds("furnitur", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no split 'test'"):
        locate_clouds("empty", tmp_path)
    with pytest.raises(DataError, match="are not those of shapes: it has 5, ball"):
        module(shapes, classes=["a", "b"])
    with pytest.raises(DataError, match="validation_fraction"):
        CloudDataModule("x", validation_fraction=1.0)
    kind = "nic_lightning.data.cloud_module.CloudDataModule"
    with pytest.raises(ConfigError, match=r"data\.set: .*modelnet10"):
        check_data({"_target_": kind, "set": "modelnet10", "root": str(tmp_path)})
    check_data({"_target_": kind, "set": "shapes", "root": str(tmp_path), "paper_protocol": True})
    with pytest.raises(ConfigError, match=r"evaluation\.datasets: .*ModelNet40"):
        check_sets(["modelnet40"], str(tmp_path))
    table = list_table(tmp_path, cloud_rows)
    assert all(name in table for name in CLOUD_SETS)


def test_a_part_of_each_class_is_held_out(shapes):
    labels = np.array([0] * 40 + [1] * 4 + [2])
    train, kept = held_out(labels, 0.1, 0)
    assert np.bincount(labels[kept], minlength=3).tolist() == [4, 1, 0]
    assert sorted([*train, *kept]) == list(range(45))
    assert held_out(labels, 0.1, 0)[1].tolist() == kept.tolist() != held_out(labels, 0.1, 1)[1].tolist()
    made = module(shapes)
    assert made.validation_clouds is not None
    assert (len(made.train_images), len(made.validation_clouds)) == (45, 15)
    assert made.validation_name.endswith("shapes_held_out")
    paper = module(shapes, paper_protocol=True)
    assert (len(paper.train_images), len(paper.validation_clouds)) == (60, 20)
    assert paper.validation_name.endswith("shapes_test")
    assert module(shapes, validation_fraction=0).val_dataloader() == []


def test_every_epoch_has_subsets_of_its_own_and_validation_always_the_same(shapes):
    made = module(shapes)
    loader = made.train_dataloader()
    loader.sampler.set_epoch(0)
    first = list(loader)
    assert first[0][0].shape == (5, 32, 3)
    assert first[0][0].dtype == torch.float32
    assert len(first) == 9
    loader.sampler.set_epoch(1)
    second = list(loader)
    again = module(shapes).train_dataloader()
    assert all(torch.equal(x, y) and torch.equal(a, b) for (x, a), (y, b) in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], second[0][0])
    validated = [torch.cat([x for x, _ in made.val_dataloader()]) for _ in range(2)]
    assert torch.equal(*validated)
    one = made.train_images[0, 0][0], made.train_images[1, 0][0]
    assert not torch.equal(*one)  # the same cloud in two epochs


def test_a_restart_in_the_middle_sees_what_would_have_come(shapes):
    whole = [x for x, _ in module(shapes).train_dataloader()]
    made = module(shapes)
    made.load_state_dict({"epoch": 0, "batch": 4, **made._order_depends_on()})
    assert all(torch.equal(x, y) for (x, _), y in zip(made.train_dataloader(), whole[4:], strict=True))


def test_small_clouds_give_points_twice():
    points = np.arange(15.0).reshape(5, 3)
    found = random_subset(points, 12, [1])
    assert np.unique(found, axis=0).shape == (5, 3)
    assert np.array_equal(found, random_subset(points, 12, [1]))
    assert np.unique(random_subset(points, 5, [2]), axis=0).shape == (5, 3)


def test_evaluations_get_labels_with_the_clouds_of_a_set_and_none_with_those_of_a_folder(shapes):
    medium = find_medium("cloud")
    (inputs,) = open_sets([str(shapes)], medium).values()
    name, x, said = inputs[19]
    assert (name, x.shape, said.label) == ("pole_003", (1, 8192, 3), 4)
    (plain,) = open_sets([str(shapes / "pole" / "test")], medium).values()
    assert len(plain[0]) == 2
    assert plain[0][1].shape == (1, 96, 3)


@pytest.mark.parametrize("name", ["furniture", "modelnet10", "modelnet40"])
def test_every_config_names_only_arguments_of_the_module(name):
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert config.pop("_target_") == "nic_lightning.data.cloud_module.CloudDataModule"
    assert config.pop("seed") == "${seed}"
    made = CloudDataModule(**config)
    assert made.train == [name]
    assert made.classes == sorted(made.classes or [])
