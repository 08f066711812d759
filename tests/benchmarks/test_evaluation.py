"""`nic bench evaluation`: what it prints, and that both sides measure the same."""

from __future__ import annotations

import re

import torch

from nic_lightning import cli
from nic_lightning.benchmarks.codec import with_weights_of
from nic_lightning.benchmarks.evaluation import FilePeer, by_compressai, by_us, compared, kodak_or_embedded


def test_both_sides_measure_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("NIC_DATA", str(tmp_path))  # no Kodak there
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    peer = FilePeer(4)
    codec = with_weights_of(peer, 4)
    name, paths = kodak_or_embedded(1, tmp_path)
    assert (name, len(paths)) == ("embedded", 1)
    ours, theirs = by_us(codec, tmp_path, 1), by_compressai(peer, paths, estimated=False)
    torch.set_num_threads(threads)
    assert compared(ours, theirs).endswith(f"{ours['bpp']:.4f} and {theirs['bpp']:.4f}.")
    assert theirs["bpp"] < ours["bpp"]  # of the header
    assert compared({**ours, "psnr": ours["psnr"] + 0.1}, theirs).endswith("they differ in ['psnr'].")


def test_prints_seconds_and_ratios(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NIC_DATA", str(tmp_path))
    threads = torch.get_num_threads()
    assert cli.main(["bench", "evaluation", "--width", "4", "--images", "1", "--rounds", "1", "--threads", "1"]) == 0
    torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 image of embedded, width 4, 1 thread")
    rows = [line for line in lines if re.search(r": \d+\.\d\d s, ratio \d+\.\d{3} \(", line)]
    assert [row.split(":")[0] for row in rows] == [
        "CompressAI, real bits",
        "CompressAI, estimated bits",
        "ours, one process",
        "ours, processes",
    ]
    assert lines[-1].startswith("Values of both: psnr ")
