from __future__ import annotations

import pytest
import torch

from nic_lightning.cli import main
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.stargan_release import read_release
from nic_lightning.codecs.translation import TRANSLATE
from nic_lightning.errors import UserError
from nic_lightning.layers.stargan import ContentEncoder, MappingNetwork, StyledDecoder, StyleEncoder

DOMAINS = ["cat", "dog", "wild"]


def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    sizes = {"base": 4, "widest": 12, "halvings": 3, "latents": 12}
    return {
        "encoder": ContentEncoder(**sizes),
        "decoder": StyledDecoder(**sizes, style_dim=5),
        "mapping": MappingNetwork(3, 6, 5, 12),
        "styles": StyleEncoder(32, 4, 12, 5, 3),
    }


def release(made: dict[str, torch.nn.Module]) -> dict[str, dict[str, torch.Tensor]]:
    """As the released files are: one generator, and the prefix of data-parallel networks."""
    encoder, decoder, mapping, styles = (network.state_dict() for network in made.values())
    parts = {"generator": encoder | decoder, "mapping_network": mapping, "style_encoder": styles}
    return {name: {f"module.{k}": v for k, v in state.items()} for name, state in parts.items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_released_checkpoint_becomes_an_export(tmp_path, zipped):
    """Also from a file as old versions of torch wrote it."""
    made, file = networks(), tmp_path / "nets_ema.ckpt"
    torch.save(release(made), file, _use_new_zipfile_serialization=zipped)
    assert main(["export", str(file), "--domains", ",".join(DOMAINS), "-o", str(tmp_path / "out")]) == 0
    codec = load_codec(tmp_path / "out")
    assert (list(codec.domains), codec.size, codec.stride, codec.latent_dim) == (DOMAINS, 32, 8, 6)
    x, w = torch.rand(1, 3, 32, 32), torch.randn(1, 6)
    y = made["encoder"](2 * x - 1)
    style = made["mapping"](w, torch.tensor([1]))
    torch.testing.assert_close(codec(x, TRANSLATE, style).x_hat, (made["decoder"](y, style) + 1) / 2)
    torch.testing.assert_close(codec.reference_styles("wild", x), made["styles"](2 * x - 1, torch.tensor([2])))


def test_what_is_no_released_checkpoint_is_one_sentence(tmp_path):
    made = release(networks())
    file = tmp_path / "file.ckpt"
    skips = {**made, "generator": {**made["generator"], "hpf.filter": torch.zeros(3, 3)}}
    lacking = {**made, "style_encoder": {}}
    alien = {name: {"weight": torch.zeros(3)} for name in made}
    shorter = {**made, "generator": {k: v for k, v in made["generator"].items() if "decode.1." not in k}}
    deep = {**made, "style_encoder": {**made["style_encoder"], "shared.60.conv1.weight": torch.zeros(1)}}
    wide = torch.zeros(1).expand(10**9, 3, 3, 3)  # a few bytes of file
    broad = {**made, "generator": {**made["generator"], "module.from_rgb.weight": wide}}
    for content, domains, sentence in (
        (deep, DOMAINS, "too many layers"),
        (broad, DOMAINS, "more memory than its weights take"),
        (b"", DOMAINS, "is no checkpoint"),
        (b"no checkpoint at all", DOMAINS, "is no checkpoint"),
        (b"hi\n", DOMAINS, "is no checkpoint: it is damaged"),  # to the unpickler: fetch a memory that is not there
        ({"state_dict": {}}, DOMAINS, "does not hold generator"),
        (skips, DOMAINS, "high-pass"),
        (lacking, DOMAINS, "does not hold the networks"),
        (alien, DOMAINS, "does not hold the networks"),
        (shorter, DOMAINS, "decoder does not fit"),
        (made, DOMAINS[:2], "has 3 domains"),
    ):
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file)
        with pytest.raises(UserError, match=sentence):
            read_release(file, domains)
    with pytest.raises(UserError, match="does not exist"):
        read_release(tmp_path / "none.ckpt", DOMAINS)
    with pytest.raises(UserError, match="is a folder"):
        read_release(tmp_path, DOMAINS)
