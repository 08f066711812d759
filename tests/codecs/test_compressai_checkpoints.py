"""Weight files of CompressAI, as its releases and programs write them, against CompressAI's own models."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from nic_lightning.codecs.compressai_checkpoints import from_compressai
from nic_lightning.codecs.factorised_prior import FactorisedPrior
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.mean_scale import MeanScaleHyperprior
from nic_lightning.errors import RunError

ZOO = "bmshj2018-factorized-prior-3-5c6f152b.pth.tar"


@pytest.fixture(scope="module")
def theirs() -> Any:
    """CompressAI's model with latents of a few symbols, tables made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai.models import FactorizedPrior
    torch.manual_seed(0)
    model = FactorizedPrior(8, 12)
    with torch.no_grad():
        model.g_a[6].weight.mul_(40)
        model.entropy_bottleneck.quantiles[:, 0, 1].uniform_(-2, 2)
    model.eval().update(force=True)
    return model


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def saved(state: Any, path: Path, **options: Any) -> Path:
    torch.save(state, path, **options)
    return path


def old_names(state: dict[str, torch.Tensor], style: str) -> dict[str, torch.Tensor]:
    """Names of the densities' parameters in releases before 1.2.7 ("_matrix0") and before 1.1 ("_matrices.0")."""
    new = {
        "_matrix0": {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"},
        "_matrices.0": {"matrices": "_matrices.", "biases": "_biases.", "factors": "_factors."},
    }[style]
    return {re.sub(r"(matrices|biases|factors)\.(\d)", lambda m: f"{new[m[1]]}{m[2]}", k): v for k, v in state.items()}


def same(codec: LearnedCodec, theirs: Any, image: torch.Tensor, table_error: int = 0) -> None:
    """Latents, rates, pictures and strings are CompressAI's; tables but for so many units of 2^-16."""
    (point,) = codec.operating_points
    with torch.no_grad():
        own, other = codec.forward(image, point), theirs(image)
        packed = theirs.compress(image)
    assert float((own.y_hat - theirs.entropy_bottleneck.decompress(*[packed["strings"][0], (3, 4)])).abs().max()) < 1e-5
    # Both add up the same products in float32, of values about 1.
    torch.testing.assert_close(own.x_hat, other["x_hat"], rtol=0, atol=1e-5)
    torch.testing.assert_close(own.likelihoods["y"], other["likelihoods"]["y"], rtol=1e-4, atol=1e-7)
    tables = codec.entropy_y._quantized_cdf, theirs.entropy_bottleneck._quantized_cdf  # pyright: ignore
    torch.testing.assert_close(*tables, rtol=0, atol=table_error)
    encoded = codec.compress(image, point)
    assert abs(len(encoded.strings[0][0]) - len(packed["strings"][0][0])) <= 4  # another coder's end of a string
    torch.testing.assert_close(
        codec.decompress(encoded, point), theirs.decompress(**packed)["x_hat"], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("style", ["", "_matrix0", "_matrices.0"])
def test_a_file_of_the_zoo(theirs, image, tmp_path, style, zipped):
    state = theirs.state_dict()
    file = saved(old_names(state, style) if style else state, tmp_path / ZOO, _use_new_zipfile_serialization=zipped)
    codec = load_codec(file)
    same(codec, theirs, image)
    (point,) = codec.operating_points
    assert (point.label, point.lmbda) == ("q3", pytest.approx(0.0067 * 255**2))


def test_a_checkpoint_of_its_training_program_without_tables(theirs, image, tmp_path):
    state = {f"module.{k}": v for k, v in theirs.state_dict().items() if not k.endswith((".target", ".bound"))}
    for name in ("_offset", "_quantized_cdf", "_cdf_length"):
        state[f"module.entropy_bottleneck.{name}"] = torch.empty(0, dtype=torch.int32)
    content = {"epoch": 3, "state_dict": state, "loss": torch.tensor(0.5), "optimizer": {}, "lr_scheduler": {}}
    codec = load_codec(saved(content, tmp_path / "checkpoint_best_loss.pth.tar"))
    same(codec, theirs, image, table_error=1)  # densities are evaluated at float32 places that are added up otherwise
    (point,) = codec.operating_points
    assert (point.label, point.lmbda) == ("checkpoint_best_loss", None)


def test_the_variant_with_relu(image, tmp_path):
    from compressai.models import FactorizedPriorReLU

    torch.manual_seed(0)
    model = FactorizedPriorReLU(8, 12).eval()
    model.update(force=True)
    same(load_codec(saved(model.state_dict(), tmp_path / "relu.pth")), model, image)


@pytest.mark.parametrize("tables", [True, False])
@pytest.mark.parametrize("kind", ["ScaleHyperprior", "MeanScaleHyperprior"])
def test_hyperpriors(image, tmp_path, kind, tables):
    import compressai.models

    torch.manual_seed(0)
    model = getattr(compressai.models, kind)(8, 12).eval()
    with torch.no_grad():
        model.g_a[6].weight.mul_(20)
        model.h_a[4].weight.mul_(10)
        model.h_s[4].bias.add_(1.0)
    state = dict(model.state_dict())
    model.update(force=True)
    name = {"ScaleHyperprior": "bmshj2018-hyperprior-2-93677231", "MeanScaleHyperprior": "mbt2018-mean-2-e54a039d"}[
        kind
    ]
    codec = load_codec(saved(model.state_dict() if tables else state, tmp_path / f"{name}.pth.tar"))
    (point,) = codec.operating_points
    assert (point.label, point.lmbda) == ("q2", pytest.approx(0.0035 * 255**2))
    x = torch.nn.functional.pad(image, (0, 0, 0, 16), mode="replicate")
    with torch.no_grad():
        own, other, packed = codec.forward(x, point), model(x), model.compress(x)
    # Both add up the same products in float32, of values about 1; ours find scales and means in float64.
    torch.testing.assert_close(own.x_hat, other["x_hat"], rtol=0, atol=1e-5)
    for latent in ("y", "z"):
        torch.testing.assert_close(own.likelihoods[latent], other["likelihoods"][latent], rtol=1e-3, atol=1e-7)
    theirs = model.entropy_bottleneck, model.gaussian_conditional
    for (a, b), error in zip(
        zip((codec.entropy_z, codec.entropy_y), theirs, strict=True), (not tables, 0), strict=True
    ):
        torch.testing.assert_close(a._quantized_cdf, b._quantized_cdf, rtol=0, atol=int(error))  # pyright: ignore
    encoded = codec.compress(x, point)
    for mine, strings in zip(encoded.strings, reversed(packed["strings"]), strict=True):
        assert abs(len(mine[0]) - len(strings[0])) <= 4
    torch.testing.assert_close(codec.decompress(encoded, point), model.decompress(**packed)["x_hat"], rtol=0, atol=1e-5)


def test_parameters_are_as_many_as_compressai_has():
    made = FactorisedPrior(128, 192), MeanScaleHyperprior(128, 192), MeanScaleHyperprior(128, 192, means=False)
    counts = [sum(p.numel() for p in codec.parameters()) for codec in made]
    assert counts == [2_998_147, 7_028_003, 5_075_843]


def test_other_models_of_compressai_are_named(tmp_path):
    from compressai.models import MeanScaleHyperprior

    state = MeanScaleHyperprior(8, 12).state_dict()
    file = saved({k: v for k, v in state.items() if not k.startswith("h_s.")}, tmp_path / "other.pth.tar")
    with pytest.raises(RunError, match=r"not read here, only bmshj2018-factorized, .*mbt2018-mean"):
        load_codec(file)


def test_what_is_no_model_of_compressai_stays_what_it_is(tmp_path):
    assert from_compressai({"state_dict": {"codec.g_a.weight": torch.zeros(1)}}, tmp_path) is None
    assert from_compressai({"state_dict": 3}, tmp_path) is None
    with pytest.raises(RunError, match="holds no codec"):
        load_codec(saved({"weights": torch.zeros(3)}, tmp_path / "some.pth"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_damaged_files_are_refused_in_a_sentence(theirs, tmp_path, zipped):
    state = dict(theirs.state_dict())
    file = saved(state, tmp_path / ZOO, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(RunError, match="not an intact checkpoint"):
        load_codec(file)
    del state["g_s.0.bias"]
    with pytest.raises(RunError, match="does not fit the codec that it names"):
        load_codec(saved(state, tmp_path / "no_bias.pth"))
    for name in ("g_a.0.weight", "g_a.6.weight"):
        with pytest.raises(RunError, match="not read here"):
            load_codec(saved(theirs.state_dict() | {name: torch.zeros(3)}, tmp_path / "flat.pth"))
    odd = theirs.state_dict() | {"entropy_bottleneck.quantiles": torch.zeros(5, 1, 3)}
    odd["entropy_bottleneck._cdf_length"] = torch.empty(0, dtype=torch.int32)
    with pytest.raises(RunError, match="entropy model of another kind"):
        load_codec(saved(odd, tmp_path / "odd.pth"))
