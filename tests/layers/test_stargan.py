import math

import pytest
import torch
from torch.nn import functional as F

from nic_lightning.layers.stargan import (
    AdaIN,
    ContentEncoder,
    Discriminator,
    MappingNetwork,
    ModeUnit,
    StyledDecoder,
    StyleEncoder,
    initialise,
)


def count(network) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("domains", "mapping", "style", "discriminator"),
    [(2, 2_438_272, 20_916_928, 20_852_290), (3, 3_259_072, 20_949_760, 20_852_803)],
)
def test_parameters_of_the_released_networks(domains, mapping, style, discriminator):
    with torch.device("meta"):
        encoder, decoder = ContentEncoder(), StyledDecoder()
        others = MappingNetwork(domains), StyleEncoder(domains=domains), Discriminator(domains=domains)
    assert [count(block) for block in encoder.encode] == [119_232, 476_032, 1_902_336, *3 * [4_721_664]]
    assert [count(block) for block in decoder.decode] == [*3 * [4_852_736], 2_000_896, 525_312, 143_872]
    assert (count(encoder), count(decoder)) == (16_664_384, 17_228_611)
    assert [count(network) for network in others] == [mapping, style, discriminator]


def test_units_of_the_modes_add_what_they_should():
    with torch.device("meta"):
        more = [count(kind(modes=True)) - count(kind()) for kind in (ContentEncoder, StyledDecoder)]
    assert more == [7_936, 8_832]


def test_shapes_at_the_thesis_size():
    with torch.device("meta"):
        x, style = torch.empty(2, 3, 256, 256), torch.empty(2, 64)
        content = ContentEncoder()(x)
        assert content.shape == (2, 512, 16, 16)
        assert StyledDecoder()(content, style).shape == x.shape


def test_encoder_and_decoder_are_what_the_layer_list_says():
    """The networks again, as functions of a state dict with the released names."""
    torch.manual_seed(0)
    encoder, decoder = ContentEncoder(8, 16, 2, 12), StyledDecoder(8, 16, 2, 12, style_dim=5)
    with torch.no_grad():
        for parameter in [*encoder.parameters(), *decoder.parameters()]:
            parameter.add_(0.3 * torch.randn_like(parameter))
    e, d = encoder.state_dict(), decoder.state_dict()
    x, style = torch.randn(2, 3, 16, 24), torch.randn(2, 5)

    y = F.conv2d(x, e["from_rgb.weight"], e["from_rgb.bias"], padding=1)
    for k, halve in enumerate((True, True, False, False)):
        y = residual_block(y, {n.removeprefix(f"encode.{k}."): v for n, v in e.items()}, halve)
    torch.testing.assert_close(encoder(x), y)

    z = y
    for k, double in enumerate((False, False, True, True)):
        z = adain_block(z, style, {n.removeprefix(f"decode.{k}."): v for n, v in d.items()}, double)
    z = F.instance_norm(z) * d["to_rgb.0.weight"][:, None, None] + d["to_rgb.0.bias"][:, None, None]
    z = F.conv2d(F.leaky_relu(z, 0.2), d["to_rgb.2.weight"], d["to_rgb.2.bias"])
    torch.testing.assert_close(decoder(y, style), z)


def residual_block(x, weights, halve):
    residual = x
    for i in "12":
        norm = f"norm{i}.weight", f"norm{i}.bias"
        scale, shift = (weights[name][:, None, None] if name in weights else None for name in norm)
        if scale is not None:
            residual = F.instance_norm(residual) * scale + shift
        residual = F.conv2d(
            F.leaky_relu(residual, 0.2), weights[f"conv{i}.weight"], weights[f"conv{i}.bias"], padding=1
        )
        residual = F.avg_pool2d(residual, 2) if halve and i == "1" else residual
    shortcut = F.conv2d(x, weights["conv1x1.weight"]) if "conv1x1.weight" in weights else x
    return ((F.avg_pool2d(shortcut, 2) if halve else shortcut) + residual) / math.sqrt(2)


def adain_block(x, style, weights, double):
    residual, shortcut = x, x
    for i in "12":
        gamma, beta = F.linear(style, weights[f"norm{i}.fc.weight"], weights[f"norm{i}.fc.bias"]).chunk(2, dim=1)
        residual = (1 + gamma)[:, :, None, None] * F.instance_norm(residual) + beta[:, :, None, None]
        residual = F.leaky_relu(residual, 0.2)
        if double and i == "1":
            residual, shortcut = (t.repeat_interleave(2, 2).repeat_interleave(2, 3) for t in (residual, shortcut))
        residual = F.conv2d(residual, weights[f"conv{i}.weight"], weights[f"conv{i}.bias"], padding=1)
    shortcut = F.conv2d(shortcut, weights["conv1x1.weight"]) if "conv1x1.weight" in weights else shortcut
    return (residual + shortcut) / math.sqrt(2)


def test_style_encoder_and_discriminator_share_their_layer_list():
    torch.manual_seed(0)
    styles, judge = StyleEncoder(32, 4, 16, 5, 3), Discriminator(32, 4, 16, 3)
    x, domain = torch.randn(4, 3, 32, 32), torch.tensor([2, 0, 1, 2])

    def trunk(w, name):
        h = F.conv2d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"], padding=1)
        for k in (1, 2, 3):
            h = residual_block(h, {n.removeprefix(f"{name}.{k}."): v for n, v in w.items()}, True)
        return F.leaky_relu(F.conv2d(F.leaky_relu(h, 0.2), w[f"{name}.5.weight"], w[f"{name}.5.bias"]), 0.2)

    w = styles.state_dict()
    h = trunk(w, "shared")[:, :, 0, 0]
    expected = torch.stack([w[f"unshared.{d}.weight"] @ h[i] + w[f"unshared.{d}.bias"] for i, d in enumerate(domain)])
    torch.testing.assert_close(styles(x, domain), expected)
    w = judge.state_dict()
    logits = F.conv2d(trunk(w, "main"), w["main.7.weight"], w["main.7.bias"])[:, :, 0, 0]
    torch.testing.assert_close(judge(x, domain), logits[torch.arange(4), domain])


def test_mapping_network_has_a_branch_for_every_domain():
    torch.manual_seed(0)
    mapping = MappingNetwork(3, 4, 5, 8)
    w, domain = torch.randn(3, 4), torch.tensor([1, 1, 2])
    state, h = mapping.state_dict(), w
    for k in (0, 2, 4, 6):
        h = F.relu(F.linear(h, state[f"shared.{k}.weight"], state[f"shared.{k}.bias"]))
    for i, d in enumerate(domain):
        own = h[i]
        for k in (0, 2, 4, 6):
            own = F.linear(own, state[f"unshared.{d}.{k}.weight"], state[f"unshared.{d}.{k}.bias"])
            own = F.relu(own) if k < 6 else own
        torch.testing.assert_close(mapping(w, domain)[i], own)


def test_modes_change_nothing_until_their_units_are_trained():
    torch.manual_seed(0)
    x, style = torch.randn(2, 3, 16, 16), torch.randn(2, 5)
    plain = ContentEncoder(8, 16, 2, 12), StyledDecoder(8, 16, 2, 12, 5)
    modal = ContentEncoder(8, 16, 2, 12, modes=True), StyledDecoder(8, 16, 2, 12, 5, modes=True)
    for a, b in zip(plain, modal, strict=True):
        missing = b.load_state_dict(a.state_dict(), strict=False)
        assert not missing.unexpected_keys
        assert all("unit" in key or key.endswith(".mode") for key in missing.missing_keys)
    y = plain[0](x)
    for mode in (0.0, 1.0):
        assert torch.equal(modal[0](x, mode), y)
        assert torch.equal(modal[1](y, style, mode), plain[1](y, style))
    with torch.no_grad():
        for network in modal:
            for name, parameter in network.named_parameters():
                if "unit" in name or name.endswith(".mode"):
                    parameter.uniform_(-0.5, 0.5)
    assert torch.equal(modal[0](x, 0.0), y)
    assert torch.equal(modal[1](y, style, 0.0), plain[1](y, style))
    assert not torch.allclose(modal[0](x, 1.0), y, atol=1e-2)
    assert not torch.allclose(modal[1](y, style, 1.0), plain[1](y, style), atol=1e-2)


def test_units_are_linear_in_mode_and_style():
    torch.manual_seed(0)
    unit, adain, x = ModeUnit(4), AdaIN(3, 4, modes=True), torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        for parameter in (*unit.parameters(), *adain.parameters()):
            parameter.normal_()
    torch.testing.assert_close(unit(x, 0.5), (unit(x, 0.0) + unit(x, 1.0)) / 2)
    s, t = torch.randn(2, 2, 3)
    middle = adain(x, (s + t) / 2, 0.5)
    torch.testing.assert_close(middle, (adain(x, s, 0.0) + adain(x, t, 1.0)) / 2, rtol=1e-4, atol=1e-5)


def test_initial_weights():
    torch.manual_seed(0)
    network = StyleEncoder(32, 16, 64, 8, 2)
    initialise(network)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            fan_in = layer.weight[0].numel()
            if layer.weight.numel() > 2000:
                assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)
            assert layer.bias is None or not layer.bias.any()
