from __future__ import annotations

import copy

import pytest
import torch

from nic_lightning import bitstream
from nic_lightning.codecs.base import Encoded, ImageCodec
from nic_lightning.errors import BitstreamError, RunError, UserError


@pytest.fixture(scope="module")
def codec(make_codec):
    return make_codec("modulated", lambdas=[64, 512])


def test_is_a_codec(codec):
    assert isinstance(codec, ImageCodec)
    assert codec.name == "modulated"


def test_padding_repeats_the_border_and_is_cut_away(codec, picture):
    x = picture(17, 33)
    padded = codec.pad(x)
    assert padded.shape == (1, 3, 32, 48)
    assert torch.equal(padded[..., :17, :33], x)
    assert torch.equal(padded[..., 20, :33], x[..., 16, :])
    assert torch.equal(padded[..., 40], padded[..., 32])
    assert codec.pad(picture(32, 16)).shape == (1, 3, 32, 16)


def test_a_string_does_not_depend_on_its_batch(codec, picture):
    x, point = picture(33, 40, n=3), codec.operating_points[1]
    together = codec.compress(x, point)
    for i, image in enumerate(x.split(1)):
        alone = codec.compress(image, point)
        assert alone.strings[0][0] == together.strings[0][i]
        assert torch.equal(codec.decompress(alone, point)[0], codec.decompress(together, point)[i])


def test_decompressing_changes_nothing(codec, picture):
    x, point = picture(33, 40), codec.operating_points[0]
    encoded, before = codec.compress(x, point), {k: v.clone() for k, v in codec.state_dict().items()}
    first, second = codec.decompress(encoded, point), codec.decompress(encoded, point)
    assert torch.equal(first, second)
    assert first.shape == (1, 3, 33, 40)
    assert 0 <= first.min() <= first.max() <= 1
    assert not first.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in codec.state_dict().items())


def test_training_mode_does_not_disturb_files(codec, picture):
    x, point = picture(20, 20), codec.operating_points[0]
    expected = codec.pack(codec.compress(x, point), point)
    twin = copy.deepcopy(codec).train()
    data = twin.pack(twin.compress(x, point), point)
    assert data == expected
    assert torch.equal(twin.decompress(*twin.unpack(data)), codec.decompress(*codec.unpack(data)))


def test_memory_format_does_not_change_the_fingerprint(codec):
    assert copy.deepcopy(codec).to(memory_format=torch.channels_last).fingerprint() == codec.fingerprint()


def test_fingerprint_follows_weights_tables_and_method(make_codec, codec):
    seen = {codec.fingerprint(), make_codec("bottleneck_scaling", lambdas=[64, 512]).fingerprint()}
    twin = copy.deepcopy(codec)
    assert twin.fingerprint() == codec.fingerprint()
    with torch.no_grad():
        twin.g_a.convs[0].bias[0] += 1e-7
    seen.add(twin.fingerprint())
    with torch.no_grad():
        twin.entropy_y[0].biases[0] += 0.1
    seen.add(twin.fingerprint())
    twin.update_tables()
    seen.add(twin.fingerprint())
    twin.load_state_dict(codec.state_dict())
    assert twin.fingerprint() == codec.fingerprint()
    assert len(seen) == 5


@pytest.mark.parametrize("fused", [False, True])
def test_fingerprint_follows_an_optimisers_step(codec, picture, fused):
    twin = copy.deepcopy(codec).train()
    optimizer = torch.optim.Adam([p for n, p in twin.named_parameters() if not n.endswith("quantiles")], fused=fused)
    seen = {twin.fingerprint()}
    for _ in range(3):
        twin(picture(16, 16), twin.operating_points[0]).x_hat.sum().backward()
        optimizer.step()
        seen.add(twin.fingerprint())
    assert len(seen) == 4


def test_works_under_inference_mode(make_codec, picture):
    with torch.inference_mode():
        codec = make_codec("modulated", lambdas=[64, 512], seed=3)
        x = picture(33, 17)
        for point in (codec.operating_points[0], codec.point_at(100.0)):
            encoded, named = codec.unpack(codec.pack(codec.compress(x, point), point))
            assert torch.equal(codec.decode_latents(encoded, named)["y"], codec(x, point).y_hat)


def test_a_foreign_models_file_is_refused(codec, make_codec, picture):
    point = codec.operating_points[0]
    data = codec.pack(codec.compress(picture(16, 16), point), point)
    for other in (make_codec("modulated", lambdas=[64, 512], seed=1), make_codec("cae")):
        with pytest.raises(BitstreamError, match="another model"):
            other.unpack(data)


def test_tables_that_were_never_made(make_codec, picture):
    codec = make_codec("cae")
    for model in codec.entropy_models():
        model._quantized_cdf, model._offset, model._cdf_length = (torch.empty(0, dtype=torch.int32) for _ in range(3))
    with pytest.raises(RunError, match="update_tables"):
        codec.compress(picture(16, 16), codec.operating_points[0])


def test_images_with_nan_are_refused(codec, picture):
    x = picture(16, 16)
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        codec.compress(x, codec.operating_points[0])


@pytest.mark.parametrize("name", ["cae", "modulated", "hyperprior"])
@pytest.mark.parametrize("size", [(1, bitstream.MAX_PIXELS), (bitstream.MAX_PIXELS, 1), (3, bitstream.MAX_PIXELS // 3)])
def test_thin_images_that_padding_makes_huge_are_refused(make_codec, name, size):
    codec = make_codec(name)
    point = codec.operating_points[0]
    encoded = Encoded(((bytes(400),),) * (2 if name == "hyperprior" else 1), size)
    with pytest.raises(BitstreamError, match="too thin"):
        codec.unpack(codec.pack(encoded, point))


def test_images_at_the_limit_are_not_refused_for_their_padding(codec):
    point = codec.operating_points[0]
    for size in ((1, 1), (5793, 5792), (8191, 4096), (1, 2**21)):
        codec.unpack(codec.pack(Encoded(((b"",),), size), point))
    codec.unpack(codec.pack(Encoded(((b"",),), (10, 10)), point), max_pixels=100)


def test_extreme_latents_still_give_an_image(codec):
    point, model = codec.operating_points[0], codec.entropy_y[0]
    string, _ = model.encode(torch.full((1, 8, 2, 2), 2.0**30))
    image = codec.decompress(Encoded(((string,),), (20, 20)), point)
    assert image.shape == (1, 3, 20, 20)
    assert ((image >= 0) & (image <= 1)).all()  # NaN is neither
