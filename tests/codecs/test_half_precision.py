from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import nic_lightning
from nic_lightning.codecs.exporting import WEIGHTS, export_codec
from nic_lightning.codecs.half_precision import round_to_float16
from nic_lightning.codecs.learned import in_entropy_model
from nic_lightning.codecs.loading import load_with_config
from nic_lightning.errors import UserError
from nic_lightning.media.base import medium_of
from tests.codecs.samples import save_checkpoint

CODECS = {
    "light": {"width": 8, "deep": 8, "latents": 8, "hyper": 6, "blocks": [1, 1, 1, 1], "lambdas": [64, 512]},
    "cae": {"kernel_param": "rdft"},
    "slimmable": {"widths": [4, 8], "lambdas": [64, 512]},
    "point_cloud": {"size": "lite", "classes": 3, "points": 64},
}
LARGEST = 65504.0
RECEIVER = """
import sys
from pathlib import Path
import nic_lightning, torch
torch.set_num_threads(int(sys.argv[1]))
for folder in map(Path, sys.argv[2:]):
    codec = nic_lightning.load_codec(folder / "export")
    x, latents = torch.load(folder / "x.pt", weights_only=True)
    encoded = codec.compress(x, codec.operating_points[-1])
    assert codec.pack(encoded, codec.operating_points[-1]) == (folder / "x.nic").read_bytes(), folder
    found = codec.decode_latents(*codec.unpack((folder / "x.nic").read_bytes()))
    assert all(torch.equal(found[name], latents[name]) for name in latents), folder
    print(folder)
"""


def test_rounded_codecs_load_as_they_were_exported_here_and_in_another_process(tmp_path, make_codec) -> None:
    for name, overrides in CODECS.items():
        folder = tmp_path / name
        codec, config = load_with_config(save_checkpoint(folder, make_codec, name, **overrides))
        before = {key: tensor.clone() for key, tensor in codec.state_dict().items()}
        assert round_to_float16(codec) == []
        rounded, trained = codec.state_dict(), dict(codec.named_parameters())
        for key, tensor in before.items():
            if key in trained and not in_entropy_model(key):
                assert torch.equal(rounded[key], tensor.half().float()), key
            elif not key.endswith("quantiles"):  # of tables made anew: found by bisection
                assert torch.equal(rounded[key], tensor), key
        assert any(not torch.equal(rounded[key], before[key]) for key in trained)
        export_codec(codec, config, folder / "export", float16=True)
        export_codec(codec, config, folder / "float32")
        stored = load_file(folder / "export" / WEIGHTS)
        assert all(stored[key].dtype == torch.float16 for key in trained if not in_entropy_model(key))
        sizes = [(folder / kind / WEIGHTS).stat().st_size for kind in ("export", "float32")]
        halved = sum(p.numel() for key, p in codec.named_parameters() if not in_entropy_model(key))
        assert sizes[1] - sizes[0] >= 2 * halved - 512  # the lists of tensors differ in length
        again = nic_lightning.load_codec(folder / "export")
        assert again.fingerprint() == codec.fingerprint()
        assert {t.dtype for t in again.parameters()} == {torch.float32}
        x, point = medium_of(codec).handler().example(33, 65), codec.operating_points[-1]
        encoded = codec.compress(x, point)
        assert any(len(string) > 2 for strings in encoded.strings for string in strings)
        (folder / "x.nic").write_bytes(codec.pack(encoded, point))
        torch.save((x, dict(encoded.latents)), folder / "x.pt")
    folders = [str(tmp_path / name) for name in CODECS]
    command = [sys.executable, "-W", "ignore", "-c", RECEIVER, str(torch.get_num_threads()), *folders]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == folders


def test_numbers_that_float16_has_not_stay_as_they_are(tmp_path, make_codec) -> None:
    codec, config = load_with_config(save_checkpoint(tmp_path, make_codec, "cae"))
    names = [name for name, _ in codec.named_parameters() if not in_entropy_model(name)][:3]
    large, small, fits = (codec.get_parameter(name) for name in names)
    large.view(-1)[0] = 2 * LARGEST
    small.fill_(3e-9)
    fits.view(-1)[0] = LARGEST
    assert round_to_float16(codec) == names[:2]
    assert large.view(-1)[0] == 2 * LARGEST
    assert torch.equal(small, torch.full_like(small, 3e-9))
    export_codec(codec, config, tmp_path / "export", float16=True)
    stored = load_file(tmp_path / "export" / WEIGHTS)
    assert [stored[name].dtype for name in names] == [torch.float32, torch.float32, torch.float16]
    assert nic_lightning.load_codec(tmp_path / "export").fingerprint() == codec.fingerprint()


def test_halves_of_a_rounded_codec_read_one_anothers_files(tmp_path, make_codec) -> None:
    codec, config = load_with_config(save_checkpoint(tmp_path, make_codec, "point_cloud", **CODECS["point_cloud"]))
    round_to_float16(codec)
    sides = {}
    with pytest.raises(UserError, match="round the whole codec"):
        round_to_float16(load_with_config(tmp_path / "last.ckpt")[0].half_of("receiver"))
    for side in ("sender", "receiver"):
        half = codec.half_of(side)
        export_codec(half, half.config_of(config), tmp_path / side, float16=True)
        sides[side] = nic_lightning.load_codec(tmp_path / side)
    x, point = medium_of(codec).handler().example(8, 8), codec.operating_points[0]
    data = sides["sender"].pack(sides["sender"].compress(x, point), point)
    assert data == codec.pack(codec.compress(x, point), point)
    decided = sides["receiver"].decompress(*sides["receiver"].unpack(data))
    assert torch.equal(decided.log_probabilities, codec.decompress(*codec.unpack(data)).log_probabilities)
