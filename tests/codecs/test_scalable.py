from __future__ import annotations

import copy
import dataclasses
from itertools import pairwise

import pytest
import torch
from skimage import data
from torch.utils.flop_counter import FlopCounterMode

from nic_lightning import bitstream
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.scalable import ScalableAutoencoder
from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.losses.rate_distortion import rate_distortion
from tests.codecs.samples import excited

WIDTHS = [4, 6, 7, 12]


@pytest.fixture(scope="module", params=["switch", "slim", "slim+"])
def codec(request) -> ScalableAutoencoder:
    torch.manual_seed(0)
    return excited(ScalableAutoencoder(WIDTHS, gdn=request.param)).requires_grad_(False)


@pytest.mark.parametrize(("gdn", "count"), [("switch", 4_116_219), ("slim", 4_002_819), ("slim+", 4_002_879)])
def test_parameters(gdn, count):
    """Encoder of the autoencoder, decoder of SlimCAE, entropy models of the autoencoder's 192 channels."""
    with torch.device("meta"):
        codec, slimmable = ScalableAutoencoder(gdn=gdn), SlimmableAutoencoder(gdn=gdn)
    counts = {n: p.numel() for n, p in codec.named_parameters()}
    decoder = sum(p.numel() for n, p in slimmable.named_parameters() if n.startswith("g_s"))
    assert sum(v for n, v in counts.items() if n.startswith("g_a")) == 2_001_408
    assert sum(v for n, v in counts.items() if n.startswith("g_s")) == decoder
    assert 2_001_408 + decoder == count
    assert sum(v for n, v in counts.items() if n.startswith("entropy_")) == 8_832
    assert codec.groups == (48, 24, 24, 48, 48)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (96, 64)])
def test_every_prefix_of_a_file_is_a_file(codec, picture, size):
    x, points = picture(*size), codec.operating_points
    files = [codec.pack(codec.compress(x, point), point) for point in points]
    contents = [bitstream.unpack(file) for file in files]
    whole = b"".join(contents[-1].strings)
    decoded = []
    for k, (point, file, content) in enumerate(zip(points, files, contents, strict=True), 1):
        assert len(content.strings) == k
        assert whole.startswith(b"".join(content.strings))
        assert bitstream.truncate(files[-1], k) == file  # also to the last bit of its header
        assert codec.file_fingerprint(point) == content.fingerprint == contents[-1].fingerprint
        encoded, named = codec.unpack(file)
        assert named == point
        decoded.append(codec.decompress(encoded, point))
        assert torch.equal(decoded[-1], codec(x, point).x_hat.clamp(0, 1))
    assert all(len(a) < len(b) for a, b in pairwise(files))
    for k in range(1, len(points)):
        assert bitstream.truncate(files[-2], k) == files[k - 1]  # shortened twice is shortened once
        assert size == (1, 1) or not torch.equal(decoded[k], decoded[k - 1])


def test_the_first_layers_of_a_longer_file_are_the_shorter_file(codec, picture):
    """Latents of point k are the first of any later point's, in what is sent and in what the forward pass gives."""
    x, points = picture(40, 50, n=2), codec.operating_points
    full = codec.compress(x, points[-1])
    latents = codec.decode_latents(full, points[-1])["y"]
    for point in points:
        own = codec.compress(x, point)
        assert own.strings == full.strings[: point.index + 1]
        part = codec.decode_latents(dataclasses.replace(full, strings=full.strings[: point.index + 1]), point)["y"]
        assert torch.equal(part, latents[:, : point.width])
        assert torch.equal(part, codec(x, point).y_hat)


def test_files_that_cannot_be_shortened(codec, picture, make_codec):
    x, point = picture(20, 30), codec.operating_points[1]
    file = codec.pack(codec.compress(x, point), point)
    for count in (-1, 0, 3, 255):
        with pytest.raises(BitstreamError, match=f"^{count} layers? (was|were) asked for; the file has 2.$"):
            bitstream.truncate(file, count)
    content = bitstream.unpack(file)
    for wrong in (b"L\x03", b"L\x01", b"L\x00"):
        forged = bitstream.pack(dataclasses.replace(content, point=wrong))
        with pytest.raises(BitstreamError, match=r"layers? and holds 2: it is altered|asked for"):
            bitstream.truncate(forged, 2)
        with pytest.raises(BitstreamError):
            codec.decompress(*codec.unpack(forged))
    with pytest.raises(BitstreamError, match="CRC-32"):
        bitstream.truncate(file[:-5] + file[-4:], 1)
    for name in ("cae", "hyperprior"):
        other: LearnedCodec = make_codec(name)
        plain = other.pack(other.compress(x, other.operating_points[0]), other.operating_points[0])
        with pytest.raises(BitstreamError, match="has no layers: only a scalable codec"):
            bitstream.truncate(plain, 1)


def test_one_pass_of_the_encoder_serves_a_training_step(picture):
    torch.manual_seed(0)
    codec, x = ScalableAutoencoder([4, 6, 8], [50, 60, 70]).train(), picture(40, 33)
    apart = copy.deepcopy(codec)
    passes = []
    codec.g_a.register_forward_hook(lambda *_: passes.append(1))

    def loss(outputs):
        return sum(rate_distortion(o, x, p.lmbda).loss for o, p in zip(outputs, codec.operating_points, strict=True))

    torch.manual_seed(2)
    ours = loss(codec.outputs(x))
    assert len(passes) == 1
    torch.manual_seed(2)
    theirs = loss(LearnedCodec.outputs(apart, x))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    ours.backward()
    theirs.backward()
    for (name, a), b in zip(codec.named_parameters(), apart.parameters(), strict=True):
        if not name.endswith("quantiles"):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_layer_learns_from_its_own_point_and_later_ones(picture):
    codec, x, level = ScalableAutoencoder(WIDTHS).train(), picture(32, 32), 1
    point = codec.operating_points[level]
    rate_distortion(codec(x, point), x, 100.0).loss.backward()
    for i, layer in enumerate(codec.g_s):
        outside = layer.weight.grad.clone()
        assert outside[: point.width, : point.width].any(), i
        outside[: point.width, : point.width] = 0
        assert not outside.any(), i
    for i, model in enumerate(codec.entropy_y):
        assert (model.matrices[0].grad is not None) == (i <= level)
    assert codec.g_a.convs[0].weight.grad.flatten(1).any(1).all()  # all of the encoder: GDN mixes its channels


def test_only_the_decoder_is_slimmable():
    with torch.device("meta"):
        codec = ScalableAutoencoder([8, 32])
        costs = []
        for point in codec.operating_points:
            with FlopCounterMode(display=False) as encoder, torch.no_grad():
                y = codec.analysis(torch.empty(1, 3, 64, 64), point)
            with FlopCounterMode(display=False) as decoder, torch.no_grad():
                codec.synthesis(y, point)
            costs.append((encoder.get_total_flops(), decoder.get_total_flops()))
    assert costs[0][0] == costs[1][0]
    assert costs[0][1] < costs[1][1] / 5


@pytest.mark.parametrize("kernel_param", ["direct", "rdft"])
def test_a_stand_alone_codec_for_every_number_of_layers(kernel_param, picture):
    torch.manual_seed(0)
    codec = excited(ScalableAutoencoder(WIDTHS, kernel_param=kernel_param)).requires_grad_(False)
    x = picture(33, 48)
    for point in codec.operating_points:
        alone, inner = codec.standalone(point)
        assert sum(p.numel() for n, p in alone.named_parameters() if n.startswith("g_s.")) == sum(
            p.numel() for p in ScalableAutoencoder([point.width], gdn="slim").g_s.parameters()
        ) + 3 * (point.width**2 + point.width)
        ours, theirs = codec.compress(x, point), alone.compress(x, inner)
        assert ours.strings == theirs.strings
        # In float64: in float32, kernels of different widths add up in different orders, on some processors to 2e-4.
        double = copy.deepcopy(codec).double()
        same, its_point = double.standalone(point)
        torch.testing.assert_close(
            same.decompress(theirs, its_point), double.decompress(ours, point), rtol=0, atol=1e-9
        )


def test_parts_hold_no_more_than_their_layers_need_and_share_files(codec, picture):
    x, whole, point = picture(40, 33), codec.operating_points[-1], codec.operating_points[1]
    file = codec.pack(codec.compress(x, whole), whole)
    narrow, receiver = codec.narrowed(6), codec.narrowed(6).half_of("receiver")
    assert (narrow.widths, narrow.groups, narrow.encoder_width, receiver.encoder_width) == ((4, 6), (4, 2), 12, 0)
    numbers = [{n: p.numel() for n, p in part.named_parameters()} for part in (codec, narrow, receiver)]
    kept = [{n: v for n, v in part.items() if n.startswith("g_a")} for part in numbers]
    assert kept == [kept[0], kept[0], {}]
    assert all(max(p.shape[:2]) <= 6 for n, p in receiver.named_parameters() if n.startswith("g_s"))
    assert sum(v for n, v in numbers[2].items() if n.startswith("entropy_")) == 46 * 6
    for part in (narrow, receiver, receiver.narrowed(6), codec.half_of("receiver")):
        assert part.fingerprint() == codec.fingerprint()
        for count in (1, 2):
            cut = bitstream.truncate(file, count)
            assert torch.equal(part.decompress(*part.unpack(cut)), codec.decompress(*codec.unpack(cut)))
    assert narrow.pack(narrow.compress(x, point), point) == bitstream.truncate(file, 2)
    assert torch.equal(narrow(x, point).x_hat, codec(x, point).x_hat)
    with pytest.raises(BitstreamError, match="has 4 layers and this codec decodes 2: give --layers 2"):
        receiver.unpack(file)
    with pytest.raises(UserError, match="no encoder"):
        receiver.compress(x, point)
    with pytest.raises(UserError, match="no sender's half"):
        codec.half_of("sender")
    with pytest.raises(UserError, match="no width 5; it has 4, 6, 7, 12"):
        codec.narrowed(5)


def test_each_string_is_decoded_once_for_all_layers(codec, picture, monkeypatch):
    x, point, decoded = picture(33, 48, n=2), codec.operating_points[2], []
    encoded = codec.compress(x, point)
    for i, model in enumerate(codec.entropy_y):
        monkeypatch.setattr(model, "decode", lambda *a, i=i, decode=model.decode: decoded.append(i) or decode(*a))
    pictures = list(codec.refinements(encoded, point))
    assert decoded == [0, 1, 2] * 2  # of two images
    for layers, x_hat in enumerate(pictures, 1):
        first = dataclasses.replace(encoded, strings=encoded.strings[:layers])
        assert torch.equal(x_hat, codec.decompress(first, codec.operating_points[layers - 1]))
    assert len(pictures) == 3


def test_a_photograph_of_every_group_is_coded_at_the_estimated_rate(codec):
    x = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    before = 0
    for point in codec.operating_points:
        strings = codec.compress(x, point).strings
        real = 8 * sum(len(s) for column in strings for s in column)
        estimated = -codec(x, point).likelihoods["y"].log2().sum().item()
        assert before < real
        assert real == pytest.approx(estimated, rel=0.01, abs=64 * len(strings))
        before = real


def test_wrong_arguments_are_named():
    for wrong in ([], [4, 4], [6, 4], [0, 4]):
        with pytest.raises(UserError, match=r"codec\.widths"):
            ScalableAutoencoder(wrong)
    with pytest.raises(UserError, match=r"switch, slim, slim\+"):
        ScalableAutoencoder([4, 6], gdn="none")
    with pytest.raises(UserError, match=r"codec\.lambdas"):
        ScalableAutoencoder([4, 6], [1.0])
    with pytest.raises(UserError, match=r"codec\.encoder_width is 5"):
        ScalableAutoencoder([4, 6], encoder_width=5)
    for wrong in ("", "12", "x" * 16, 3):
        with pytest.raises(UserError, match=r"codec\.whole"):
            ScalableAutoencoder([4, 6], whole=wrong)
    assert [p.label for p in ScalableAutoencoder([4, 6]).operating_points] == ["layers1", "layers2"]
