"""A file and a checkpoint are all that a receiver needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
import yaml

from nic_lightning.codecs.loading import build_codec, load_codec

CONF = Path(__file__).parents[2] / "conf" / "codec"
CODECS = {
    "cae": {},
    "modulated": {"lambdas": [64, 512]},
    "bottleneck_scaling": {"lambdas": [64, 512]},
    "conditional": {"lambdas": [64, 512], "steps": [0.5, 1.0]},
    "hyperprior": {},
    "modulated_hyperprior": {"lambdas": [64, 512]},
    "scalable": {"widths": [4, 8]},
    "slimmable": {"widths": [4, 8]},
    "slimmable_hyperprior": {"widths": [4, 8], "hyper_widths": [3, 6]},
    "slimmable_context": {"widths": [4, 8], "hyper_widths": [3, 6]},
    "slimmable_context-serial": {"widths": [4, 8], "hyper_widths": [3, 6], "order": "serial"},
}

RECEIVER = """
import sys
from pathlib import Path
import torch
from nic_lightning.codecs.loading import load_codec
torch.set_num_threads(int(sys.argv[1]))
for folder in map(Path, sys.argv[2:]):
    codec = load_codec(folder / "last.ckpt")
    assert not {"pytorch_lightning", "hydra", "wandb"} & sys.modules.keys(), "a decoder needs no trainer"
    for file in sorted(folder.glob("*.nic")):
        encoded, point = codec.unpack(file.read_bytes())
        image = codec.decompress(encoded, point)
        assert torch.equal(image, torch.load(file.with_suffix(".pt"), weights_only=True)), file
        print(file)
"""


def test_a_new_process_decodes_files_from_checkpoints_alone(fit, tmp_path, picture):
    for name, arguments in CODECS.items():
        folder = tmp_path / name
        config = yaml.safe_load((CONF / f"{name.removesuffix('-serial')}.yaml").read_text())
        config |= arguments | ({"width": 8} if "width" in config else {})
        torch.manual_seed(0)
        codec = build_codec(config)
        with torch.no_grad():
            for key, parameter in codec.named_parameters():
                if parameter.dim() == 4 and not key.startswith("entropy_"):
                    parameter.mul_(3)  # symbols of a codec after two steps would nearly all be 0
        _, trainer = fit(2, codec=codec.train(), task={"codec_config": config})
        trainer.save_checkpoint(folder / "last.ckpt")
        sender = load_codec(folder / "last.ckpt")
        points = [*sender.operating_points, *([sender.point_at(200.0)] if sender.lambda_range else [])]
        for i, point in enumerate([*points, sender.candidate_points[-1]]):
            encoded = sender.compress(picture(33, 65, seed=i), point)
            assert len(encoded.latents["y"].round().unique()) > 2
            (folder / f"{i}.nic").write_bytes(sender.pack(encoded, point))
            torch.save(sender.decompress(encoded, point), folder / f"{i}.pt")
    threads = str(torch.get_num_threads())  # on another number convolutions round differently
    command = [sys.executable, "-W", "ignore", "-c", RECEIVER, threads, *(str(tmp_path / name) for name in CODECS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(list(tmp_path.glob("*/*.nic"))) >= 18
