"""What the catalogue says about sets that are whole, partial, damaged, missing or unknown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lightning.data import catalog
from nic_lightning.data.datasets import ImageFolder
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import DataError


@pytest.fixture
def kodak_copy(nic_data, tmp_path) -> Path:
    shutil.copytree(nic_data / "kodak", tmp_path / "kodak")
    for path in (tmp_path / "kodak", *(tmp_path / "kodak").iterdir()):
        path.chmod(0o755)
    return tmp_path


def test_kodak_is_complete(nic_data):
    report = catalog.check("kodak", nic_data)
    assert (len(report.present), report.missing, report.damaged) == (24, [], [])
    assert report.ok
    assert report.checksums
    table = catalog.check_table(report)
    assert "present  24 of 24" in table
    assert "damaged  0" in table
    assert "r0k.us" in table


def test_a_flipped_byte_is_damage_and_a_removed_file_is_missing(kodak_copy):
    path = kodak_copy / "kodak" / "kodim07.png"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    (kodak_copy / "kodak" / "kodim11.png").unlink()
    report = catalog.check("kodak", kodak_copy)
    assert len(report.present) == 22
    assert report.missing == ["kodim11.png"]
    assert [line.split(":")[0] for line in report.damaged] == ["kodim07.png"]
    assert not report.ok
    table = catalog.check_table(report)
    assert "kodim11.png" in table
    assert "kodim07.png" in table


def test_the_embedded_photographs_are_in_the_wheel():
    for name in ("embedded", "embedded_valid", "embedded_train"):
        report = catalog.check(name)
        assert report.ok, report
        assert report.checksums


def test_embedded_training_and_evaluation_do_not_overlap():
    parts = [set(catalog.CATALOG[f"embedded{part}"].files) for part in ("", "_valid", "_train")]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_loose_files_of_clic_2020_are_a_partial_set(tmp_path, noise):
    noise(tmp_path / "clic2020" / "one.png", 4, 4)
    noise(tmp_path / "clic2020" / "professional" / "train" / "not_test.png", 4, 4)
    noise(tmp_path / "clic2020" / "mobile" / "test" / "unpacked" / "two.png", 4, 4)
    report = catalog.check("clic2020_test", tmp_path)
    assert sorted(report.present) == ["one.png", "two.png"]
    assert report.missing_count == 426
    assert report.state == "partial"
    assert not report.checksums
    assert "checksums unknown" in catalog.check_table(report)


def test_other_sizes_of_tecnick_do_not_count(tmp_path, noise):
    noise(tmp_path / "tecnick" / "RGB" / "RGB_OR_1200x1200" / "RGB_OR_1200x1200_001.png", 4, 4)
    noise(tmp_path / "tecnick" / "RGB" / "RGB_R02_0600x0600" / "RGB_R02_0600x0600_001.png", 4, 4)
    assert catalog.check("tecnick", tmp_path).present == ["RGB_OR_1200x1200_001.png"]


def test_a_folder_of_ones_own_is_decoded(folder):
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-100])
    report = catalog.check(str(folder))
    assert len(report.present) == 6
    assert report.damaged[0].startswith("cut.png: ")
    assert report.state == "damaged"
    assert report.expected is None
    (folder / "cut.png").unlink()
    assert catalog.check(str(folder)).state == "present"


def test_a_folder_of_nothing_but_damage(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"text")
    report = catalog.check(str(tmp_path))
    assert report.present == []
    assert report.state == "damaged"


def test_a_report_is_plain_json(folder):
    report = json.loads(json.dumps(catalog.check(str(folder)).as_dict()))
    assert report["state"] == "present"
    assert report["ok"] is True
    assert len(report["present"]) == 6


def test_the_list_names_every_set_and_what_is_at_hand(tmp_path, noise):
    noise(tmp_path / "kodak" / "kodim01.png", 4, 4)
    table = catalog.list_table(tmp_path)
    assert all(name in table for name in catalog.CATALOG)
    assert str(tmp_path) in table
    assert re.search(r"^kodak +1 of 24 +known", table, re.MULTILINE)
    assert re.search(r"^tecnick +0 of 100 +unknown", table, re.MULTILINE)


def test_an_unknown_name_suggests_the_nearest(tmp_path):
    for name in ("kodka", "KODAK"):
        with pytest.raises(DataError, match="There is no data set") as refusal:
            catalog.check(name, tmp_path)
        sentence = f"There is no data set or folder '{name}'; the nearest of 24 is kodak; nic data list has all, and "
        assert str(refusal.value).startswith(sentence)
    with pytest.raises(DataError, match="There is no data set or folder 'zzzzzz'"):
        catalog.locate("zzzzzz", tmp_path)


def test_a_missing_folder_names_folder_source_and_the_ways_out(tmp_path):
    with pytest.raises(DataError) as refusal:
        catalog.check("kodak", tmp_path)
    for part in (str(tmp_path / "kodak"), "r0k.us", "NIC_DATA", "--root"):
        assert part in str(refusal.value)
    with pytest.raises(DataError, match="photos/train is missing"):
        catalog.locate("photos/train", tmp_path)
    (tmp_path / "a.png").write_text("")
    with pytest.raises(DataError, match=r"a\.png is a file: give a folder"):
        catalog.locate(str(tmp_path / "a.png"), tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "kodak").mkdir()
    with pytest.raises(DataError, match="There are no images of data set 'kodak'"):
        catalog.check("kodak", tmp_path)


def test_the_root_is_argument_then_environment_then_data(monkeypatch):
    monkeypatch.delenv("NIC_DATA", raising=False)
    assert catalog.find_root() == Path("data")
    monkeypatch.setenv("NIC_DATA", "/somewhere")
    assert catalog.find_root() == Path("/somewhere")
    assert catalog.find_root("/else") == Path("/else")


def test_folders_are_found_by_wildcard_below_root_or_working_directory(tmp_path, noise, monkeypatch):
    noise(tmp_path / "data" / "photos" / "train" / "one" / "x.png", 2, 2)
    noise(tmp_path / "data" / "photos" / "train" / "two" / "y.png", 2, 2)
    located = catalog.locate("photos/train/*", tmp_path / "data")
    assert [path.name for path in located.files] == ["x.png", "y.png"]
    assert located.name == "photos_train"
    monkeypatch.chdir(tmp_path)
    assert catalog.locate("data/photos", tmp_path / "elsewhere").name == "data_photos"
    assert catalog.locate(tmp_path / "data", None).name == "data"


@pytest.mark.parametrize("name", ["set[1]", "what?", "all*"])
def test_a_folder_that_exists_comes_before_wildcards(tmp_path, noise, monkeypatch, name):
    others = {"set[1]": "set1", "what?": "whatx", "all*": "all_more"}
    for folder, size in ((name, 3), (others[name], 2)):
        noise(tmp_path / folder / "x.png", size, size)
    assert catalog.locate(name, tmp_path).folders == (tmp_path / name,)
    monkeypatch.chdir(tmp_path)
    assert catalog.locate(name, tmp_path / "elsewhere").folders == (Path(name),)
    assert ImageFolder(str(tmp_path / name)).sizes == [(3, 3)]
    (tmp_path / name).rename(tmp_path / "gone")
    assert catalog.locate(name, tmp_path).folders == (tmp_path / others[name],)


def test_what_lies_here_comes_before_wildcards_below_the_root(tmp_path, noise, monkeypatch):
    noise(tmp_path / "root" / "set1" / "x.png", 2, 2)
    noise(tmp_path / "set[1]" / "x.png", 3, 3)
    monkeypatch.chdir(tmp_path)
    assert catalog.locate("set[1]", tmp_path / "root").folders == (Path("set[1]"),)


def test_of_two_folders_of_one_name_it_is_said_which_was_taken(tmp_path, noise, monkeypatch, caplog):
    for place in (tmp_path / "root", tmp_path):
        noise(place / "mine" / "a" / "x.png", 2, 2)
        noise(place / "mine" / "b" / "x.png", 2, 2)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert catalog.locate("mine", tmp_path / "root").folders == (tmp_path / "root" / "mine",)
    assert DomainFolders("mine", tmp_path / "root", least=1).folder == tmp_path / "root" / "mine"
    taken, other = tmp_path / "root" / "mine", tmp_path / "mine"
    assert caplog.messages == [f"mine: {taken} is taken, not {other}; give ./mine for the folder here."]  # once
    caplog.clear()
    assert catalog.locate("./mine", tmp_path / "root").folders == (Path("mine"),)
    assert DomainFolders("./mine", tmp_path / "root", least=1).folder == Path("mine")
    assert catalog.locate(tmp_path / "mine", tmp_path / "root").folders == (tmp_path / "mine",)
    assert caplog.messages == []


def test_a_folder_with_the_name_of_a_catalogued_set(tmp_path, noise, monkeypatch, caplog):
    noise(tmp_path / "kodak" / "x.png", 2, 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"For the folder here give \./kodak\."):
        catalog.locate("kodak", tmp_path / "root")
    noise(tmp_path / "root" / "kodak" / "kodim01.png", 2, 2)
    catalog.locate("kodak", tmp_path / "root")
    assert caplog.messages == [
        f"kodak is the catalogued set in {tmp_path}/root/kodak; give ./kodak for the folder here."
    ]
    assert catalog.locate("./kodak", tmp_path / "root").folders == (Path("kodak"),)


def test_a_missing_package_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-image"):
        catalog.check("embedded", tmp_path)
    assert re.search(r"^embedded +0 of 2", catalog.list_table(tmp_path), re.MULTILINE)


def test_the_catalogue_starts_without_torch():
    code = "import sys, nic_lightning.data.catalog; sys.exit('torch' in sys.modules or 'skimage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
