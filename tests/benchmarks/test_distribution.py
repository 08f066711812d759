"""`nic bench distribution`: what is timed codes the latents that it says it does."""

from __future__ import annotations

import torch

from nic_lightning import cli
from nic_lightning.analysis.latency import photograph
from nic_lightning.benchmarks import distribution


def test_adapted_tables_are_sent_and_decode():
    torch.manual_seed(0)
    static, adapted, y = distribution.models(64, 16, {"hidden": 16, "side": 8})
    string, y_hat = adapted.encode(y)
    assert adapted.plan(y).adapted
    assert torch.equal(adapted.decode(string, distribution.LATENTS), y_hat)
    assert torch.equal(static.decode(static.encode(y)[0], distribution.LATENTS), y_hat)
    assert string != static.encode(y)[0]


def test_both_codecs_decode_to_the_same_image(monkeypatch):
    monkeypatch.setattr(distribution, "IMAGE", (32, 48))
    x, decoded = photograph((32, 48)), {}

    def keep(codec, encoded, point, _):
        decoded[type(codec).__name__] = (codec.decompress(encoded, point), encoded.strings)

    monkeypatch.setattr(distribution, "_decompress", keep)
    for call in distribution.whole_codec(16).values():
        call(x)
    (static, strings), (adapted, others) = decoded["CompressiveAutoencoder"], decoded["EncodingDistribution"]
    assert torch.equal(static, adapted)
    assert strings != others


def test_every_part_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(distribution, "IMAGE", (32, 48))
    monkeypatch.setattr(distribution, "WIDTH", 16)
    monkeypatch.setattr(distribution, "NETWORKS", {64: (16, {"hidden": 16, "side": 8})})
    assert cli.main(["bench", "distribution", "--rounds", "1", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count(" ms") == 9
    assert out.count("of static") == 4
