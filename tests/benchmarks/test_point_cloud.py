"""`nic bench point_cloud`: both sides code the same symbols, and what is timed makes what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nic_lightning import bitstream, cli
from nic_lightning.benchmarks import point_cloud
from nic_lightning.media.cloud.handler import CloudHandler


def clouds() -> torch.Tensor:
    return CloudHandler().example(1, 40, 3)


@torch.no_grad()
@pytest.mark.parametrize("size", ["lite", "micro"])
def test_both_sides_code_the_same_symbols(size):
    torch.manual_seed(0)
    codec, peer = point_cloud.pair(size)
    x, point = clouds(), codec.operating_points[0]
    assert point_cloud.require_same_symbols(codec, peer, x) <= 1
    ours = np.stack(list(codec.symbols(x.split(1), point)))
    assert 3 < ours.max() < 100
    channels = codec.entropy_y.channels
    y_hat = peer.entropy_bottleneck.decompress(peer.compress(x), (1,))
    medians = codec.entropy_y.medians[..., 0]
    # Latents and medians of up to 100, in float32.
    assert torch.allclose(y_hat - medians, torch.from_numpy(ours).view(3, channels, 1).float(), rtol=0, atol=1e-4)
    peer.g_a[0].bias += 0.5
    with pytest.raises(AssertionError, match="differ"):
        point_cloud.require_same_symbols(codec, peer, x)


def test_what_is_timed_are_a_stream_files_and_a_batch():
    torch.manual_seed(0)
    codec, peer = point_cloud.pair("micro")
    x, point = clouds(), codec.operating_points[0]
    made = {kind: (ours(x), theirs(x)) for kind, (ours, theirs) in point_cloud.ways(codec, peer).items()}
    stream, files, batch = (made[kind][0] for kind in ("stream", "files", "batch"))
    strings = codec.compress(x, point).strings[0]
    assert batch == strings
    assert tuple(bitstream.unpack(data, medium="cloud").strings[0] for data in files) == strings
    expected = codec.decompress(codec.compress(x, point), point).log_probabilities
    assert torch.equal(codec.decode(stream).log_probabilities, expected)
    assert made["stream"][1] == made["files"][1] == made["batch"][1]
    assert len(made["batch"][1]) == 3


def test_every_kind_is_printed(capsys):
    arguments = ["--sizes", "micro,lite", "--points", "8,20", "--clouds", "2", "--rounds", "1"]
    assert cli.main(["bench", "point_cloud", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = itertools.product(("micro", "lite"), ("8", "20"), ("stream", "files", "batch"))
    assert [tuple(line.split()[:3]) for line in lines if "/s" in line] == list(expected)
    for wrong, named in ((["--sizes", "tiny"], "tiny"), (["--points", "0"], "0")):
        assert cli.main(["bench", "point_cloud", *wrong]) == 2
        assert named in capsys.readouterr().err
