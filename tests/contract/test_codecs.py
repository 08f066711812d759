"""What every codec of conf/codec promises: a new method is held to it as soon as its YAML exists."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nic_lightning.baselines.still import MissingCodec, StillImageCodec
from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.codecs.base import ImageCodec
from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec, load_codec
from nic_lightning.codecs.narrowing import NarrowableCodec
from nic_lightning.commands.export import narrowed
from nic_lightning.config import check_targets, compose
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.png import save_png
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.text import rd_table
from nic_lightning.runs.record.results import read_results

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "codec").glob("*.yaml"))
SMALL = {"width": 8, "hidden": 6, "base": 4, "widest": 8, "latents": 6, "hyper": 4, "halvings": 2, "size": 32}
"""Arguments that are made small wherever a codec has them; lists of widths are divided by 24."""


@pytest.fixture(scope="module", params=NAMES)
def config(request) -> dict:
    """Plain config of a codec, made small."""
    composed = compose("train", [f"codec={request.param}"])
    assert check_targets(composed) == []
    plain = OmegaConf.to_container(composed.codec, resolve=True)
    assert isinstance(plain, dict)
    plain |= {key: value for key, value in SMALL.items() if key in plain}
    for key in plain.keys() & {"widths", "hyper_widths"}:
        plain[key] = [max(2, width // 24) for width in plain[key]]
    return plain


@pytest.fixture(scope="module")
def codec(config):
    torch.manual_seed(0)
    try:
        codec = instantiate(config, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, MissingCodec):
            raise
        pytest.skip(str(error.__cause__))  # tests/baselines has stand-ins for programs
    if isinstance(codec, LearnedCodec):
        with torch.no_grad():
            for name, parameter in codec.named_parameters():
                if parameter.dim() == 4 and not name.startswith("entropy_"):
                    parameter.mul_(4.0)  # symbols of an untrained codec would nearly all be 0
        codec.update_tables()
        codec.eval()
    return codec


@pytest.fixture(scope="module")
def learned(codec) -> LearnedCodec:
    if not isinstance(codec, LearnedCodec):
        pytest.skip("classic codecs have no weights")
    return codec


def example(codec, point) -> dict:
    """What only the receiver has."""
    return codec.receiver_example(point) if isinstance(codec, LearnedCodec) else {}


def test_is_an_image_codec_with_distinct_points(codec):
    assert isinstance(codec, ImageCodec)
    points = codec.operating_points
    assert len({p.label for p in points}) == len(points) > 0
    assert [p.index for p in points] == list(range(len(points)))
    for lever in ("lmbda", "quality"):
        values = [getattr(p, lever) for p in points]
        assert None in values or values == sorted(values)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 48)])
def test_files_bring_back_images_of_any_size(codec, picture, size):
    x = picture(*size)
    points = codec.operating_points
    for point in {0: points[0], 1: points[len(points) // 2], 2: points[-1]}.values():
        data = codec.pack(codec.compress(x, point), point)
        encoded, named = codec.unpack(data)
        x_hat = codec.decompress(encoded, named if named.index >= 0 else point, **example(codec, point))
        assert x_hat.shape == x.shape
        assert x_hat.dtype == torch.float32
        assert 0 <= x_hat.min() <= x_hat.max() <= 1
        assert codec.pack(codec.compress(x, point), point) == data  # no chance in it


def test_both_ends_of_the_range_bring_back_images(config, codec, picture):
    x = picture(40, 56)
    if isinstance(codec, StillImageCodec):
        ends = sorted(codec.bounds)
        key = "rates" if codec.settings == "rates" else "qps" if codec.settings == "QPs" else "qualities"
        values = [-end for end in ends] if key == "qps" else ends
        at_ends = instantiate({**config, key: values}, _convert_="all")
        points = at_ends.operating_points
        for beyond in (values[0] - 1, values[1] + 1):
            with pytest.raises(InstantiationException, match="lie in"):
                instantiate({**config, key: [beyond]}, _convert_="all")
    else:
        at_ends, points = codec, [codec.operating_points[0], codec.operating_points[-1]]
        if codec.lambda_range is not None:
            low, high = codec.lambda_range
            points = [codec.point_at(value) for value in (low, 1.0001 * low, 0.9999 * high, high)]
            for beyond in (0.99 * low, 1.01 * high, float("nan"), -1.0):
                with pytest.raises(UserError, match="outside"):
                    codec.point_at(beyond)
    sizes = []
    for point in points:
        data = at_ends.pack(at_ends.compress(x, point), point)
        encoded, named = at_ends.unpack(data)
        decoded = at_ends.decompress(encoded, named if named.index >= 0 else point, **example(codec, point))
        assert decoded.shape == x.shape
        sizes.append(len(data))
    if isinstance(codec, StillImageCodec):
        assert sizes[0] < sizes[-1]


def test_an_image_too_small_for_a_metric_is_in_no_mean_of_it(codec, picture):
    points = [p for p in codec.operating_points if not isinstance(codec, LearnedCodec) or codec.reconstructs(p)][:1]
    images = [("large", picture(176, 164)[0]), ("tiny", picture(40, 33)[0])]
    rows = evaluate_codec(codec, images, "mixed", points=points)
    if not points:
        assert rows == []  # it translates only
        return
    assert [row["ms_ssim_db"] is None for row in rows] == [False, True]
    (curve,) = curves(rows)
    assert (curve.points[0]["psnr"] is not None, curve.points[0]["ms_ssim_db"]) == (True, None)
    (point,) = curve.over("ms_ssim_db").points
    assert (point["bpp"], point["ms_ssim_db"]) == (rows[0]["bpp"], rows[0]["ms_ssim_db"])
    assert "over 1 of 2 images: tiny has no finite MS-SSIM" in rd_table(rows)


def test_hostile_bytes_end_in_a_sentence(codec, picture):
    point = codec.operating_points[0]
    data = codec.pack(codec.compress(picture(17, 33), point), point)
    for wrong in (b"", b"\0", data[:10], data[: len(data) // 2], b"x" * 500, bytes(reversed(data))):
        with pytest.raises(BitstreamError) as error:
            codec.decompress(codec.unpack(wrong)[0], point)
        assert "\n" not in str(error.value)


def test_forward_pass(learned, picture):
    x = picture(33, 50, n=2)
    for point in learned.candidate_points:
        for training in (True, False):
            with torch.no_grad():
                output = learned.train(training)(x, point, **example(learned, point))
            assert output.x_hat.shape == x.shape
            assert output.x_hat.isfinite().all()
            assert output.y.shape == output.y_hat.shape
            assert output.y.shape[0] == 2
            assert output.likelihoods
            for likelihood in output.likelihoods.values():
                assert ((likelihood > 0) & (likelihood <= 1)).all()


def test_decoding_gives_what_the_forward_pass_gave(learned, picture):
    x = picture(33, 50)
    for point in learned.candidate_points:
        encoded = learned.compress(x, point)
        with torch.no_grad():
            output = learned.eval()(x, point, **example(learned, point))
        decoded = learned.decompress(encoded, point, **example(learned, point))
        assert torch.equal(decoded, output.x_hat.clamp(0, 1))
        decoded = learned.decode_latents(encoded, point)
        assert all(torch.equal(decoded[k], v) for k, v in encoded.latents.items())


def test_points_have_bytes_and_labels(learned):
    seen = set()
    for point in learned.candidate_points:
        data = learned.point_to_bytes(point)
        assert learned.point_from_bytes(data) == point
        assert learned.point(point.label) == point
        seen.add(data)
    assert len(seen) == len(learned.candidate_points)
    assert list(learned.candidate_points[: len(learned.operating_points)]) == list(learned.operating_points)


def test_a_state_dict_makes_the_same_codec(learned, config, picture):
    torch.manual_seed(1)
    twin = build_codec(config).eval()
    assert twin.fingerprint() != learned.fingerprint()
    twin.load_state_dict(copy.deepcopy(learned.state_dict()))
    assert twin.fingerprint() == learned.fingerprint()
    point = learned.operating_points[-1]
    data = learned.pack(learned.compress(picture(20, 40), point), point)
    theirs, ours = (c.decompress(*c.unpack(data), **example(c, point)) for c in (twin, learned))
    assert torch.equal(theirs, ours)


def test_a_narrowed_export_reads_the_files_of_the_whole(learned, config, picture, tmp_path):
    if not isinstance(learned, NarrowableCodec):
        pytest.skip("a codec of one width")
    x, before = picture(40, 33), 0
    for point in learned.operating_points[:3:2]:
        export_codec(*narrowed(learned, config, learned.widths[point.index]), tmp_path / point.label)
        alone = load_codec(tmp_path / point.label)
        assert list(alone.operating_points) == list(learned.operating_points[: point.index + 1])
        data = learned.pack(learned.compress(x, point), point)
        assert torch.equal(alone.decompress(*alone.unpack(data)), learned.decompress(*learned.unpack(data)))
        assert alone.pack(alone.compress(x, point), point) == data
        size = (tmp_path / point.label / "codec.safetensors").stat().st_size
        assert size > before
        before = size


def test_everything_is_trained(learned, picture):
    """A pass over all points reaches every parameter: none is unused, which distributed training would refuse.

    What makes styles is trained by a task of its own.
    """
    twin = copy.deepcopy(learned).train()
    x, total = picture(64, 64), torch.zeros(())
    for point in twin.operating_points:
        output = twin(x, point, **example(twin, point))
        total = total + output.x_hat.square().mean() - sum(v.log2().mean() for v in output.likelihoods.values())
    losses = [m.loss() for m in twin.entropy_models() if hasattr(m, "quantiles")]
    (total + torch.stack(losses).sum()).backward()
    named = {n: p for n, p in twin.named_parameters() if n.split(".")[0] not in ("mapping", "style_encoder")}
    assert [n for n, p in named.items() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in named.values())


def test_builds_and_runs_on_the_meta_device(learned, config):
    """Checkpoints are measured, and operations counted, without memory."""
    with torch.device("meta"):
        outline = build_codec(config)
        x = torch.empty(1, 3, 64, 128)
    assert {k: v.shape for k, v in outline.named_parameters()} == {k: v.shape for k, v in learned.named_parameters()}
    with torch.no_grad():
        y = outline.analysis(x, outline.operating_points[0])
        point = outline.operating_points[0]
        assert outline.synthesis(y, point, **example(outline, point)).shape == x.shape


def test_entropy_models_are_named_so(learned):
    """Published parameter counts leave entropy models out; they are told by their name."""
    for name, module in learned.named_modules():
        if hasattr(module, "_quantized_cdf"):
            assert name.startswith("entropy_")


@pytest.fixture
def folder(picture, tmp_path):
    """Three images as files; the one in the middle has 36 columns."""
    for name, width in (("a", 33), ("b", 36), ("c", 34)):
        save_png(picture(40, width)[0], tmp_path / "images" / f"{name}.png")
    return tmp_path


def evaluated(codec, folder: Path, run: str) -> list[dict]:
    """Rows that an evaluation keeps, without their times."""
    given = {"run": "r", "experiment": "e", "datasets": [str(folder / "images")], "save_images": 1}
    evaluate_into_run(codec, folder / run, points=[codec.operating_points[0].label], **given)
    rows = read_results(folder / run / "results.parquet")
    return [{k: v for k, v in row.items() if k not in ("encode_ms", "decode_ms")} for row in rows]


def refusing(monkeypatch, codec, error: BaseException) -> None:
    """Let the codec raise an error for the image in the middle."""
    compress = codec.compress

    def choosy(x, point):
        if x.shape[-1] == 36:
            raise error
        return compress(x, point)

    monkeypatch.setattr(codec, "compress", choosy)


def test_an_image_that_the_codec_refuses_in_the_middle_of_a_set_is_a_gap(codec, folder, monkeypatch):
    whole = evaluated(codec, folder, "whole")
    refusing(monkeypatch, codec, UserError("This picture is too wide."))
    first, gap, last = evaluated(codec, folder, "choosy")
    assert [{**first, "refused": 0}, {**last, "refused": 0}] == [{**row, "refused": 0} for row in (whole[0], whole[2])]
    assert (gap["item"], gap["refused"]) == ("b", "This picture is too wide.")
    assert gap["bytes"] is gap["bpp"] is gap["psnr"] is None


def test_a_killed_evaluation_goes_on_after_its_last_image(codec, folder, monkeypatch):
    whole = evaluated(codec, folder, "whole")
    with monkeypatch.context() as patch:
        refusing(patch, codec, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            evaluated(codec, folder, "killed")
    compress, seen = codec.compress, []
    monkeypatch.setattr(codec, "compress", lambda x, point: seen.append(x.shape[-1]) or compress(x, point))
    assert evaluated(codec, folder, "killed") == whole
    assert 33 not in seen
