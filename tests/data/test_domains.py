import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.data.domain_module import DomainDataModule
from nic_lightning.data.domains import DomainFolders, Translations, _uniform, augmented, resized
from nic_lightning.errors import DataError


def write(folder, name, count, side=24, first=0):
    """Images whose grey value tells domain and number."""
    (folder / name).mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (side, side), (first + i,) * 3).save(folder / name / f"{i:03}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("domains")
    write(root, "cat", 90)
    write(root, "dog", 10, first=100)
    write(root, "wild", 2, first=200)
    return root


def domain_of(image) -> int:
    return min(int(255 * image.mean().item() + 0.5) // 100, 2)


def test_domains_are_drawn_equally_often_and_labelled(folder):
    samples = Translations(DomainFolders(folder, cache_mb=8), 16, seed=1)
    counts, pairs = Counter(), Counter()
    for i in range(1500):
        sample = samples[(0, i)]
        assert domain_of(sample.source) == sample.source_domain
        assert domain_of(sample.reference) == domain_of(sample.second_reference) == sample.target_domain
        assert not torch.equal(sample.reference, sample.second_reference)
        counts["source", sample.source_domain] += 1
        counts["target", sample.target_domain] += 1
        pairs[sample.source_domain, sample.target_domain] += 1
    sigma = math.sqrt(1500 * 2 / 9)
    assert all(abs(count - 500) < 4 * sigma for count in counts.values())
    assert len(counts) == 6
    assert len(pairs) == 9
    assert all(abs(count - 1500 / 9) < 4 * math.sqrt(1500 * 8 / 81) for count in pairs.values())


def test_a_sample_follows_from_seed_epoch_and_index(folder):
    def sample(seed, epoch, index):
        return Translations(DomainFolders(folder), 16, seed)[(epoch, index)]

    first = sample(1, 2, 3)
    for a, b in zip(first, sample(1, 2, 3), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    for other in (sample(2, 2, 3), sample(1, 3, 3), sample(1, 2, 4)):
        assert not all(torch.equal(getattr(other, name), getattr(first, name)) for name in ("source", "reference"))


def test_transforms():
    """Half are parts of 80 to 100 % of the area and nearly square, half mirrored; all in range and of one size."""
    ramp = np.zeros((200, 200, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(200)[None, :], np.arange(200)[:, None]
    parts, mirrored = [], 0
    for i in range(600):
        small = augmented(ramp, 50, _uniform(f"test/{i}")).astype(float)
        assert small.shape == (50, 50, 3)
        across, down = small[25, :, 0], small[:, 25, 1]
        mirrored += across[0] > across[-1]
        width, height = (abs(line[-2] - line[1]) * 50 / 47 for line in (across, down))
        if width < 199 or height < 199:
            parts.append((width, height))
    assert abs(len(parts) - 300) < 4 * math.sqrt(150)
    assert abs(mirrored - 300) < 4 * math.sqrt(150)
    areas = [w * h / 200**2 for w, h in parts]
    assert min(areas) > 0.78
    assert max(areas) < 1.02
    assert max(areas) - min(areas) > 0.15
    assert all(0.88 < w / h < 1.13 for w, h in parts)
    plain = resized(ramp, 50)
    assert plain.shape == (50, 50, 3)
    assert plain[0, -1, 0] > plain[0, 0, 0]


def test_a_resumed_module_gives_the_batches_that_were_left(folder):
    def batches(module):
        module.setup("fit")
        return list(module.train_dataloader())

    options = {"size": 16, "batch_size": 4, "samples_per_epoch": 24, "seed": 5}
    whole = batches(DomainDataModule(str(folder), **options))
    assert len(whole) == 6
    assert whole[0].source.shape == (4, 3, 16, 16)
    assert whole[0].target_domain.dtype == torch.int64
    module = DomainDataModule(str(folder), **options)
    module.setup("fit")
    module.load_state_dict({"epoch": 0, "batch": 4})
    rest = list(module.train_dataloader())
    assert len(rest) == 2
    for a, b in zip(whole[4:], rest, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_validation_has_the_domains_of_training(folder, tmp_path):
    write(tmp_path, "cat", 1)
    write(tmp_path, "dog", 3)
    module = DomainDataModule(str(folder), str(tmp_path), size=16)
    with pytest.raises(DataError, match="no domain 'wild'; it has cat, dog"):
        module.setup("fit")
    module = DomainDataModule(str(folder), str(tmp_path), domains=["dog", "cat"], size=16)
    module.setup("fit")
    assert module.train_images.domains == module.validation_folders.domains == ["dog", "cat"]
    assert list(map(len, module.validation_folders.images)) == [3, 1]
    batches = list(module.val_dataloader())
    labels = torch.cat([domains for _, domains in batches])
    assert labels.tolist() == [0, 0, 0, 1]
    assert batches[0][0].shape == (4, 3, 16, 16)
    assert module.validation_name.endswith(f"_{tmp_path.name}")
    assert DomainDataModule(str(folder), size=16).val_dataloader() == []


def test_what_a_user_gets_wrong(folder, tmp_path):
    with pytest.raises(DataError, match=r"no folder nowhere .* set NIC_DATA"):
        DomainFolders("nowhere", tmp_path)
    write(tmp_path, "cat", 3)
    with pytest.raises(DataError, match="holds 1 domain;"):
        DomainFolders(tmp_path)
    write(tmp_path, "dog", 1)
    with pytest.raises(DataError, match=r"'dog' .* has 1 usable image; it needs 2"):
        DomainFolders(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        DomainFolders(tmp_path, domains=["cat", "empty"])
    with pytest.raises(DataError, match="no domain 'bird'; it has cat, dog, empty"):
        DomainFolders(tmp_path, domains=["cat", "bird"])


def test_faces(nic_data):
    folders = DomainFolders(nic_data / "faces" / "afhq")
    assert folders.domains == ["cat", "dog", "wild"]
    assert list(map(len, folders.images)) == [25, 16, 20]
    sample = Translations(folders, 64, 0)[(0, 0)]
    assert sample.source.shape == (3, 64, 64)
    assert 0 <= sample.source.min() < sample.source.max() <= 1
