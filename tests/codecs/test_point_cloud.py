"""The point-cloud codec: published counts, independence of order and batch, files, streams."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nic_lightning import bitstream
from nic_lightning.codecs.point_cloud import SIZES, PointCloudCodec
from nic_lightning.entropy.model import to_int32
from nic_lightning.errors import BitstreamError, DataError, UserError
from nic_lightning.media.cloud.handler import CloudHandler
from nic_lightning.testing import excited
from tests.media.clouds import ball

COUNTS = {  # parameters of g_a, entropy model, classifier; operations a point, and of the classifier
    "full": (152_704, 62_464, 668_456, 147_648, 665_600),
    "lite": (744, 1_952, 159_560, 472, 157_696),
    "micro": (112, 976, 151_352, 48, 149_504),
}


def made(size: str = "micro", seed: int = 0, **arguments) -> PointCloudCodec:
    """A codec with statistics of some clouds, whose symbols vary."""
    torch.manual_seed(seed)
    codec = PointCloudCodec(size, **{"classes": 12, **arguments})
    for layer in codec.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = None  # the mean over the batches
            nn.init.normal_(layer.bias, 0, 0.5)
    with torch.no_grad():
        codec.train()(clouds(16, 128, seed=9), codec.operating_points[0])
    return excited(codec)


def clouds(n: int, points: int, seed: int = 0) -> torch.Tensor:
    return CloudHandler().example(1, points, n, seed)


def strings(codec: PointCloudCodec, x: torch.Tensor) -> tuple[bytes, ...]:
    return codec.compress(x, codec.operating_points[0]).strings[0]


@pytest.mark.parametrize("size", SIZES)
def test_parameters_and_operations_are_the_published_ones(size):
    with torch.device("meta"):
        codec = PointCloudCodec(size).eval()
        x = torch.empty(1, 64, 3)
    parts = (codec.g_a, codec.entropy_y, codec.classifier)
    parameters = tuple(sum(p.numel() for p in part.parameters()) for part in parts)
    with FlopCounterMode(display=False) as analysis:
        y = codec.analysis(x, codec.operating_points[0])
    with FlopCounterMode(display=False) as synthesis:
        codec.synthesis(y, codec.operating_points[0])
    operations = (analysis.get_total_flops() // 2 // 64, synthesis.get_total_flops() // 2)
    assert parameters + operations == COUNTS[size]
    assert sum(parameters) == sum(p.numel() for p in codec.parameters())


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_the_networks_are_those_of_compressai(size):
    from compressai.layers.pointcloud import pointnet as layers

    codec = made(size)
    channels, groups = SIZES[size]
    peers = (
        layers.pointnet_g_a_simple(list(channels), list(groups)),
        layers.pointnet_classification_backend(num_channels=[codec.entropy_y.channels, 512, 256, 12]),
    )
    gain, *others_of_classifier = codec.classifier.layers
    for own, peer in zip((codec.g_a, nn.Sequential(*others_of_classifier)), peers, strict=True):
        mine = [m for m in own.modules() if isinstance(m, nn.Conv1d | nn.BatchNorm1d) or hasattr(m, "factor")]
        others = [m for m in peer.modules() if isinstance(m, nn.Conv1d | nn.BatchNorm1d) or type(m).__name__ == "Gain"]
        assert len(mine) == len(others)
        for one, other in zip(mine, others, strict=True):
            other.load_state_dict(dict(zip(other.state_dict(), one.state_dict().values(), strict=True)))
        peer.eval()
    x = clouds(2, 50)
    # float32 sums of up to 1,024 terms in another order.
    y, expected = codec.g_a(x), peers[0](x.transpose(1, 2))
    assert torch.allclose(y, expected.view_as(y), rtol=1e-5, atol=1e-4)
    logits, expected = codec.classifier(y), peers[1](gain(y))
    assert torch.allclose(logits, expected.view_as(logits), rtol=1e-5, atol=1e-4 * float(logits.abs().max()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("points", [1, 7, 8, 33, 129, 511, 1023, 1024])
def test_a_string_depends_on_neither_order_nor_batch(size, points):
    codec = made(size)
    x = clouds(5, points, seed=points)
    found = strings(codec, x)
    order = torch.randperm(points, generator=torch.Generator().manual_seed(1))
    assert strings(codec, x[:, order]) == found
    assert tuple(strings(codec, cloud)[0] for cloud in x.split(1)) == found
    assert len(set(found)) > 1


@pytest.mark.parametrize("size", SIZES)
def test_points_that_are_there_twice_change_nothing(size):
    codec, x = made(size), clouds(3, 200)
    found = strings(codec, x)
    assert strings(codec, torch.cat([x, x[:, :77]], dim=1)) == found
    if size == "micro":  # an affine map and ReLU are convex, so their maximum lies in a corner
        between = 0.3 * x[:, :50] + 0.7 * x[:, 50:100]
        assert strings(codec, torch.cat([x, between], dim=1)) == found


@pytest.mark.parametrize("size", ["lite", "micro"])
def test_files_bring_back_the_latents_and_the_decision(size):
    codec = made(size)
    point = codec.operating_points[0]
    for cloud in clouds(8, 100).split(1):
        encoded = codec.compress(cloud, point)
        received, named = codec.unpack(codec.pack(encoded, point))
        assert named == point
        assert codec.file_of(cloud, point) == codec.pack(encoded, point)
        latents = codec.decode_latents(received, point)["y"]
        assert latents.shape == (1, codec.entropy_y.channels, 1, 1)
        assert torch.equal(latents, encoded.latents["y"])
        output = codec(cloud, point)
        assert torch.equal(output.y_hat, latents)
        assert torch.equal(codec.decompress(received, point).log_probabilities, output.x_hat)


def stream_of(codec: PointCloudCodec, x: torch.Tensor) -> bytes:
    file = io.BytesIO()
    assert codec.encode_stream(file, (x[k : k + 1] for k in range(len(x))), codec.operating_points[0]) == len(x)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_a_thousand_clouds_make_one_stream_of_less_than_a_byte_over_each(size):
    codec = made(size)
    x, point = clouds(1000 if size == "micro" else 200, 40), codec.operating_points[0]
    data = stream_of(codec, x)
    symbols = to_int32(codec.entropy_y.quantise(codec.analysis(x, point)))
    tables, channels = codec.entropy_y.tables, codec.entropy_y.channels
    ideal = tables.bits(symbols, np.tile(np.arange(channels, dtype=np.int32), len(x))).sum() / 8
    assert 0 < (len(data) - ideal) / len(x) < 1
    encoded = [codec.compress(cloud, point) for cloud in x.split(1)]
    head = len(stream_of(codec, x[:0]))
    assert 8 * (len(data) - head) <= sum(map(codec.stream_bits, encoded)) + 63  # the last block is not whole
    result = codec.decode(data)
    expected = [codec.decompress(one, point).log_probabilities for one in encoded]
    assert torch.equal(result.log_probabilities, torch.cat(expected))


def test_a_stream_that_is_cut_gives_its_whole_clouds():
    codec, x = made(), clouds(150, 40)
    data, point = stream_of(codec, x), codec.operating_points[0]
    expected = codec.decompress(codec.compress(x, point), point).log_probabilities
    counts, head = [], len(stream_of(codec, x[:0]))
    for end in range(head, len(data), 7):
        reader = bitstream.JoinedReader(io.BytesIO(data[:end]))
        found = [result.log_probabilities for result in codec.decode_stream(reader)]
        # Of a cut block the last string may decode from the zeros behind it, to what it was.
        whole = torch.cat(found) if found else expected[:0]
        assert torch.equal(whole, expected[: len(whole)])
        assert reader.cut or end in (head, *(len(stream_of(codec, x[:count])) for count in (64, 128)))
        counts.append(len(whole))
    assert counts == sorted(counts)
    assert counts[-1] > 140
    with pytest.warns(UserWarning, match=r"the stream is cut behind 1\d\d clouds"):
        codec.decode(data[:-9])
    with pytest.raises(BitstreamError, match="no whole cloud"):
        codec.decode(stream_of(codec, x[:0]))


def test_foreign_and_altered_streams_are_refused():
    codec, x = made(), clouds(70, 40)
    data = stream_of(codec, x)
    with pytest.raises(BitstreamError, match="made by another model"):
        made(seed=1).decode(data)
    video = bitstream.StreamHeader("video", codec.fingerprint(), b"", 1, joined=True, extent=dict.fromkeys(
        ("height", "width", "rate", "per"), 1))  # fmt: skip
    file = io.BytesIO()
    with bitstream.JoinedWriter(file, video):
        pass
    with pytest.raises(BitstreamError, match="holds videos"):
        codec.decode(file.getvalue())
    for count, body in ((3, b""), (1, bytes(500)), (2, b"\xff" * 40)):
        file = io.BytesIO()
        with bitstream.JoinedWriter(file, replace(video, medium="cloud", extent={})) as writer:
            writer._items = [np.unpackbits(np.frombuffer(body, np.uint8))] + [np.zeros(0, np.uint8)] * (count - 1)
        with pytest.raises(BitstreamError, match=r"altered"):
            codec.decode(file.getvalue())


def test_hostile_strings_are_refused():
    codec = made()
    point = codec.operating_points[0]
    content = bitstream.unpack(codec.pack(codec.compress(clouds(1, 40), point), point), medium="cloud")
    for wrong in ((), (b"", b""), (content.strings[0] + b"\0",), (b"\xff" * 500,), (bytes(1 << 16),)):
        data = bitstream.pack(replace(content, strings=wrong))
        with pytest.raises(BitstreamError):
            codec.decompress(*codec.unpack(data))
    with pytest.raises(BitstreamError, match="the medium image, not a cloud"):
        codec.unpack(bitstream.pack(bitstream.Container(content.fingerprint, b"", 4, 5, (b"abc",))))


def test_reconstructions_teach_the_latents_nothing():
    codec = made(reconstruct=True, points=30).train()
    output = codec(clouds(4, 30), codec.operating_points[0])
    points = codec.reconstruction(output.y_hat)
    assert points is not None
    assert points.shape == (4, 30, 3)
    points.square().sum().backward()
    assert all(p.grad is None for p in codec.g_a.parameters())
    assert all(p.grad is None for p in codec.entropy_y.parameters())
    assert codec.g_s is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in codec.g_s.parameters())
    codec.eval()
    data = codec.encode(ball(64))
    assert codec.decode(data).points.shape == (1, 30, 3)  # pyright: ignore[reportOptionalMemberAccess]
    assert made().decode(made().encode(ball(64))).points is None


def test_python_programs_encode_arrays():
    codec = made(classes=["bed", "chair"], points=32)
    data = codec.encode(5 + 3 * ball(100))
    assert data == codec.encode(torch.from_numpy(ball(100)).double(), point="160")
    result = codec.decode(data)
    assert result.shape == (1, 2)
    assert result.name(int(result.log_probabilities.argmax())) in ("bed", "chair")
    for wrong, words in ((ball(1), "one point"), (np.zeros((4, 2)), "takes an array"), (ball(9) * np.nan, "NaN")):
        with pytest.raises(DataError, match=words):
            codec.encode(wrong)
    with pytest.raises(UserError, match="the bytes of a file"):
        codec.decode("file.nic")  # pyright: ignore[reportArgumentType]


def test_sender_and_receiver_share_files_and_no_network():
    codec = made(reconstruct=True, points=30)
    sender, receiver = codec.half_of("sender"), codec.half_of("receiver")
    shared = {name for name, _ in sender.named_parameters()} & {name for name, _ in receiver.named_parameters()}
    assert {name.partition(".")[0] for name in shared} == {"entropy_y"}
    x, point = clouds(70, 30), codec.operating_points[0]
    assert stream_of(sender, x) == stream_of(codec, x)
    data = sender.requires_grad_(False).file_of(x[:1], point)
    assert data == codec.file_of(x[:1], point)
    for each in (data, stream_of(sender, x)):
        found, expected = receiver.decode(each), codec.decode(each)
        assert torch.equal(found.log_probabilities, expected.log_probabilities)
        assert torch.equal(found.points, expected.points)  # pyright: ignore[reportArgumentType]
    assert sender.fingerprint() == receiver.fingerprint() == codec.fingerprint()
    assert sender.half_of("sender").file_of(x[:1], point) == data
    assert sender.c_header().text == codec.c_header().text
    for act in (lambda: receiver.encode(x[0]), lambda: receiver.compress(x, point), receiver.c_header):
        with pytest.raises(UserError, match=r"^point_cloud cannot encode: this is the receiver's half\.$"):
            act()
    with pytest.raises(UserError, match=r"^point_cloud cannot decide: this is the sender's half\.$"):
        sender.decode(data)
    with pytest.raises(UserError, match="the sender's half of point_cloud: it holds nothing for the receiver"):
        sender.half_of("receiver")


def test_impossible_arguments_are_refused():
    for arguments in (
        {"size": "huge"},
        {"classes": 1},
        {"classes": ["one"]},
        {"points": 0},
        {"points": 1 << 20},
        {"side": "left"},
    ):
        with pytest.raises(UserError, match=r"size|classes and|side is 'left'"):
            PointCloudCodec(**arguments)
