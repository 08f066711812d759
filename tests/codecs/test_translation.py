import copy
import random

import pytest
import torch

from nic_lightning import bitstream
from nic_lightning.codecs.stargan_release import adopt
from nic_lightning.codecs.translation import AUTOENCODE, TRANSLATE, I2ICodec, UI2ICodec
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.layers.stargan import ContentEncoder, MappingNetwork, StyledDecoder, StyleEncoder
from tests.codecs.test_hostile_files import decode, hostile, peak_memory, reset_peak

SMALL = {"base": 4, "widest": 8, "halvings": 2, "latents": 6, "hyper": 3, "style_dim": 5, "latent_dim": 4, "size": 32}
"""Stride 4, images padded to multiples of 16."""


def made(kind=UI2ICodec, seed=0, **arguments):
    """With units, biases and modes away from 0, and contents of a few units."""
    torch.manual_seed(seed)
    codec = kind(**SMALL | {"domains": ["cat", "dog", "wild"]} | arguments)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if "unit" in name or name.endswith(".mode") or (parameter.dim() == 1 and "entropy" not in name):
                parameter.add_(0.3 * torch.randn_like(parameter))
        codec.encoder.encode[-1].conv2.weight.mul_(3)
        codec.h_s[-1].bias.fill_(2.0)  # scales that latents of this size have after training
    codec.update_tables()
    return codec.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def codec():
    return made()


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters():
    with torch.device("meta"):
        plain, unified = I2ICodec(), UI2ICodec()
        small = I2ICodec(latents=64)
    assert count(plain) == 58_252_355
    assert count(unified) == 58_273_027
    hyper = [count(c.h_a) + count(c.h_s) + count(c.entropy_z) for c in (plain, small)]
    assert hyper == [1_004_160, 487_616]
    stargan = 57_248_195
    assert 0 < (count(plain) - stargan) / stargan < 0.02
    assert 0 < count(unified) - count(plain) <= 30_000


def test_a_translation_is_the_plain_codecs(codec, picture):
    """Mode T of a unified codec is an I2ICodec, whatever its units are (thesis section 4.4.1)."""
    plain = made(I2ICodec)
    plain.load_state_dict({k: v for k, v in codec.state_dict().items() if k in plain.state_dict()})
    x, style = picture(32, 48), torch.randn(1, 5)
    y = codec.analysis(x, TRANSLATE)
    assert torch.equal(y, plain.analysis(x, TRANSLATE))
    assert torch.equal(codec.synthesis(y, TRANSLATE, style), plain.synthesis(y, TRANSLATE, style))
    assert not torch.allclose(codec.analysis(x, AUTOENCODE), y, atol=1e-2)
    ours, theirs = codec.compress(x, TRANSLATE), plain.compress(x, TRANSLATE)
    assert ours.strings == theirs.strings


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (33, 50), (64, 16)])
@pytest.mark.parametrize("point", [TRANSLATE, AUTOENCODE])
def test_a_file_decodes_to_the_forward_pass(codec, picture, size, point):
    x, style = picture(*size), codec.random_styles("dog", 1)
    encoded = codec.compress(x, point)
    data = codec.pack(encoded, point)
    received, told = codec.unpack(data)
    assert told == point
    latents = codec.decode_latents(received, told)
    y_hat, _ = codec.likelihoods(codec.analysis(codec.pad(x), point), point)
    assert torch.equal(latents["y"], y_hat)
    assert all(torch.equal(latents[name], encoded.latents[name]) for name in ("y", "z"))
    assert y_hat.abs().max() >= 1
    image = codec.decompress(received, told, style if point == TRANSLATE else None)
    expected = codec.synthesis(y_hat, point, style)[..., : size[0], : size[1]].clamp(0, 1)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-6)
    assert image.shape == x.shape


def test_the_mode_is_one_bit_of_the_file(codec, picture):
    contents = [bitstream.unpack(codec.pack(codec.compress(picture(32, 32), p), p)) for p in codec.operating_points]
    assert [content.point for content in contents] == [b"\0", b"\1"]
    for wrong in (b"\2", b"\x80", b"", b"\0\0"):
        changed = bitstream.Container(contents[0].fingerprint, wrong, 32, 32, contents[0].strings)
        with pytest.raises(BitstreamError, match="operating point"):
            codec.unpack(bitstream.pack(changed))
    flipped = bitstream.Container(contents[0].fingerprint, b"\1", 32, 32, contents[0].strings)
    received, point = codec.unpack(bitstream.pack(flipped))
    try:
        image = codec.decompress(received, point)
    except BitstreamError:
        return
    original, _ = codec.unpack(bitstream.pack(contents[0]))
    assert not torch.equal(image, codec.decompress(original, TRANSLATE, codec.random_styles("dog", 1)))


def test_real_bits_are_near_the_estimate(codec, picture):
    for point in codec.operating_points:
        x = picture(256, 256)
        encoded = codec.compress(x, point)
        real = 8 * sum(len(column[0]) for column in encoded.strings)
        _, likelihoods = codec.likelihoods(codec.analysis(x, point), point)
        estimate = -sum(p.log2().sum().item() for p in likelihoods.values())
        assert estimate > 1000
        assert 0.98 * estimate < real < 1.06 * estimate + 128


def test_sender_and_receiver_share_files_and_nothing_else(codec, picture):
    sender, receiver = codec.sender(), codec.receiver()
    shared = {n for n, _ in sender.named_parameters()} & {n for n, _ in receiver.named_parameters()}
    assert {name.split(".")[0] for name in shared} == {"h_s", "entropy_z"}
    addresses = [{p.data_ptr() for p in half.parameters()} for half in (sender, receiver, codec)]
    assert not addresses[0] & addresses[1]
    assert not (addresses[0] | addresses[1]) & addresses[2]
    x = picture(32, 32)
    data = sender.pack(sender.compress(x, TRANSLATE), TRANSLATE)
    assert data == codec.pack(codec.compress(x, TRANSLATE), TRANSLATE)
    style = receiver.random_styles("cat", 1)
    assert torch.equal(style, codec.random_styles("cat", 1))
    image = receiver.decompress(*receiver.unpack(data), style)
    assert torch.equal(image, codec.decompress(*codec.unpack(data), style))
    with pytest.raises(UserError, match="receiver's half"):
        receiver.compress(x, TRANSLATE)
    with pytest.raises(UserError, match="sender's half"):
        sender.decompress(*sender.unpack(data), style)
    with pytest.raises(UserError, match="sender's half"):
        sender.random_styles("cat", 1)
    assert codec.encoder is not None
    assert codec.decoder is not None


def test_the_picture_reaches_the_decoder_through_the_latents_alone(codec, picture):
    """No skip connection: latents fixed, the image does not change with the source."""
    style, first, second = codec.random_styles("dog", 1), picture(32, 32, seed=1), picture(32, 32, seed=2)
    encoded = codec.compress(first, TRANSLATE)
    before = codec.decompress(encoded, TRANSLATE, style)
    codec.compress(second, TRANSLATE)
    assert torch.equal(codec.decompress(encoded, TRANSLATE, style), before)


def test_styles(codec):
    drawn = codec.random_styles("dog", 4, seed=3)
    assert torch.equal(codec.random_styles("dog", 6, seed=3)[:4], drawn)
    assert not torch.allclose(codec.random_styles("dog", 4, seed=4), drawn)
    assert not torch.allclose(codec.random_styles("cat", 4, seed=3), drawn)
    assert len({tuple(style.tolist()) for style in drawn}) == 4
    references = torch.rand(2, 3, 32, 32)
    styles = codec.reference_styles("wild", references)
    assert styles.shape == (2, 5)
    torch.testing.assert_close(styles, codec.style_encoder(2 * references - 1, torch.tensor([2, 2])))


def test_what_a_user_gets_wrong(codec, picture):
    with pytest.raises(UserError, match="no domain 'dragon'; it has cat, dog, wild"):
        codec.random_styles("dragon", 1)
    with pytest.raises(UserError, match=r"16x32.*32x32: resize"):
        codec.reference_styles("cat", torch.rand(1, 3, 16, 32))
    with pytest.raises(UserError, match="give the domain"):
        codec.decompress(codec.compress(picture(32, 32), TRANSLATE), TRANSLATE)
    for wrong in ({"domains": ["cat"]}, {"domains": ["a", "a"]}, {"decoder_input": "round"}, {"size": 48}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            UI2ICodec(**SMALL | wrong)


def test_what_the_decoder_sees_in_training(picture):
    x = picture(32, 32)
    noisy, straight = made(decoder_input="noise").train(), made(decoder_input="ste").train()
    y = noisy.encoder(x).requires_grad_()
    seen, _ = noisy.likelihoods(y, TRANSLATE)
    assert (seen - y).abs().max() <= 0.5
    assert not torch.equal(seen, torch.round(seen))
    seen, likelihoods = straight.likelihoods(y, TRANSLATE)
    torch.testing.assert_close(seen, torch.round(y))
    (gradient,) = torch.autograd.grad(seen.sum(), y)
    assert torch.equal(gradient, torch.ones_like(y))
    again = straight.likelihoods(y, TRANSLATE)[1]
    assert not torch.equal(likelihoods["y"], again["y"])  # the rate is that of noisy latents


def test_a_released_checkpoint_is_adopted():
    """Names as in the release: generator with both halves, domains' branches, data-parallel's prefix."""
    torch.manual_seed(5)
    arguments = {"base": 4, "widest": 8, "halvings": 2, "latents": 6}
    encoder, decoder = ContentEncoder(**arguments), StyledDecoder(**arguments, style_dim=5)
    generator = {**encoder.state_dict(), **decoder.state_dict()}
    others = MappingNetwork(3, 4, 5, 8).state_dict(), StyleEncoder(32, 4, 8, 5, 3).state_dict()
    released = {"generator": generator, "mapping_network": others[0], "style_encoder": others[1]}
    released = {name: {f"module.{k}": v for k, v in state.items()} for name, state in released.items()}
    codec, x = made(), torch.randn(1, 3, 32, 32)
    adopt(codec, released)
    assert torch.equal(codec.encoder(x), encoder(x))
    assert torch.equal(codec.decoder(encoder(x), torch.ones(1, 5)), decoder(encoder(x), torch.ones(1, 5)))
    before = copy.deepcopy(codec.state_dict())
    del released["generator"]["module.from_rgb.weight"]
    with pytest.raises(UserError, match=r"encoder does not fit this codec: from_rgb.weight is missing there"):
        adopt(codec, released)
    assert all(torch.equal(v, before[k]) for k, v in codec.state_dict().items())


@pytest.mark.parametrize("size", [(256, 256), (128, 128), (64, 64), (320, 192)])
def test_latents_have_sixteen_pixels_a_side_and_their_own_latents_four_of_those(size):
    with torch.device("meta"):
        whole = I2ICodec(size=64)
        y = whole.analysis(torch.empty(1, 3, *size), TRANSLATE)
        assert y.shape == (1, 512, size[0] // 16, size[1] // 16)
        z = whole.h_a(y)
        assert z.shape == (1, 64, size[0] // 64, size[1] // 64)
        assert whole.h_s(z).shape == y.shape
        assert whole.synthesis(y, TRANSLATE, torch.empty(1, 64)).shape == (1, 3, *size)


def test_hostile_files(codec, picture):
    points = codec.operating_points
    originals = [codec.pack(codec.compress(picture(*s), p), p) for p in points for s in ((33, 40), (16, 64))]
    assert all(decode(codec, data) for data in originals)
    files = hostile(random.Random(0), originals)
    decoded = [decode(codec, next(files)) for _ in range(400)]
    assert 4 < sum(decoded) < 396


def test_a_large_size_that_is_not_earned_takes_no_memory():
    torch.manual_seed(0)
    whole = UI2ICodec(size=64, latents=64).eval().requires_grad_(False)
    whole.update_tables()
    for height, width in ((4096, 8192), (16, bitstream.MAX_PIXELS // 16)):
        strings = (b"\x7f" + random.Random(0).randbytes(4095),) * 2
        data = bitstream.pack(bitstream.Container(whole.fingerprint(), b"\0", height, width, strings))
        reset_peak()
        before = peak_memory()
        assert not decode(whole, data)
        assert peak_memory() - before < 500 * 2**20
