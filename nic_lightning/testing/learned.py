"""Checks of learned codecs: forward pass, decoder, tables, state, gradients."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch

from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.learned import in_entropy_model
from nic_lightning.codecs.loading import build_codec, load_codec
from nic_lightning.codecs.strips import strips_of
from nic_lightning.testing.subject import Subject, expect, expect_equal, expect_same, smooth_images

OTHER_TASKS = ("mapping", "style_encoder")
"""Parts that make styles, which a task of their own trains."""


def forward_pass(subject: Subject) -> None:
    """At every point, in training and evaluation: finite images, latents of one shape, likelihoods in (0, 1]."""
    codec, x = subject.codec, subject.example(33, 50, n=2)
    for point in codec.candidate_points:
        for training in (True, False):
            where = f"point {point.label} in {'training' if training else 'evaluation'}"
            try:
                with torch.no_grad():
                    output = codec.train(training)(x, point, **subject.receiver(point))
            finally:
                codec.eval()
            expect_equal(len(output.x_hat), len(x), f"{where}: results in x_hat")
            if subject.of_images:
                expect_equal(tuple(output.x_hat.shape), tuple(x.shape), f"{where}: x_hat of shape")
            expect(output.x_hat.isfinite().all(), f"{where}: finite values in x_hat", "NaN or infinity")
            expect_equal(tuple(output.y_hat.shape), tuple(output.y.shape), f"{where}: y_hat of y's shape")
            expect_equal(len(output.y), 2, f"{where}: latents of as many images as were given,")
            expect(output.likelihoods, f"{where}: likelihoods of what is transmitted", "none")
            for name, values in output.likelihoods.items():
                low, high = float(values.min()), float(values.max())
                within = bool(((values > 0) & (values <= 1)).all())
                expect(within, f"{where}: likelihoods of {name} in (0, 1]", f"{low:g} to {high:g}")


def decoding_gives_what_the_forward_pass_gave(subject: Subject) -> None:
    """A file's image and latents are those of the forward pass in evaluation, to the bit, at every point."""
    codec, x = subject.codec, subject.example(33, 50)
    for point in codec.candidate_points:
        encoded, receiver = codec.compress(x, point), subject.receiver(point)
        with torch.no_grad():
            output = codec(x, point, **receiver)
        decoded = subject.handler.parts(codec.decompress(encoded, point, **receiver))[0]
        expected = output.x_hat.clamp(0, 1) if subject.of_images else output.x_hat
        expect_same(decoded, expected, f"at point {point.label} the x_hat of the forward pass")
        latents = codec.decode_latents(encoded, point)
        for name, sent in encoded.latents.items():
            expect_same(latents[name], sent, f"at point {point.label} the latents {name} that were sent")


def strips_give_what_the_whole_image_gives(subject: Subject) -> None:
    """In strips as thin as can be, images have the latents and the reconstruction of the whole image.

    Sums of float32 in another order differ in the last digits. So one latent in a thousand may be rounded the other
    way here, where an image has few; and samples may differ by 1e-4 in the mean. Seams would be far above both.
    """
    codec, shapes = subject.codec, ((400, 40), (40, 400))
    ends = dict.fromkeys((codec.operating_points[0], codec.operating_points[-1]))
    for point, shape in ((point, shape) for point in ends for shape in shapes):
        x, where = (255 * smooth_images(*shape)).round().byte(), f"point {point.label}, {shape[0]}x{shape[1]}"
        whole = codec.compress(x.float() / 255, point)
        with strips_of(budget=1):
            strips = codec.compress(x, point)
        for name, sent in whole.latents.items():
            off = float((strips.latents[name] - sent).abs().gt(1e-3 * sent.abs().clamp_min(1)).float().mean())
            expect(off <= 1e-3, f"{where}: the latents {name} of the whole image in strips", f"{off:.2%} others")
        expected = codec.decompress(whole, point, **subject.receiver(point))
        with strips_of(budget=1):
            decoded = codec.decompress(whole, point, **subject.receiver(point))
        far = float((decoded - expected).abs().mean())
        expect(far <= 1e-4, f"{where}: the image that is decoded as a whole in strips", f"a difference of {far:.3g}")


def points_have_bytes_and_labels(subject: Subject) -> None:
    """Every point that a file may name has bytes of its own, and is found by these and by its label."""
    codec = subject.codec
    points, seen = list(codec.candidate_points), {}
    for point in points:
        data = codec.point_to_bytes(point)
        expect_equal(codec.point_from_bytes(data), point, f"from the bytes {data!r} the point")
        expect_equal(codec.point(point.label), point, f"from the label {point.label!r} the point")
        expect(data not in seen, f"bytes of point {point.label} of its own", f"{data!r}, those of {seen.get(data)}")
        seen[data] = point.label
    first = points[: len(codec.operating_points)]
    expect_equal(first, list(codec.operating_points), "candidate_points that begin with operating_points")


def a_state_dict_makes_the_same_codec(subject: Subject) -> None:
    """Another codec of the config has another fingerprint; with this one's state it is the same and reads its files."""
    codec = subject.codec
    torch.manual_seed(1)
    twin = build_codec(subject.config).eval()
    own = codec.fingerprint().hex()
    expect(twin.fingerprint().hex() != own, "another fingerprint of other weights", own)
    twin.load_state_dict(copy.deepcopy(codec.state_dict()))
    expect_equal(twin.fingerprint().hex(), own, "of the same state the fingerprint")
    point = codec.operating_points[-1]
    data = subject.file(subject.example(20, 40), point)
    subject.expect_same(
        subject.decoded(data, point, twin), subject.decoded(data, point), "of the same state the result"
    )


def a_narrowed_export_reads_the_files_of_the_whole(subject: Subject) -> None:
    """Exports of narrower codecs write and read the whole one's files at their widths, and grow with the width."""
    codec, x, before = subject.codec, smooth_images(40, 33), 0
    assert subject.config is not None
    with tempfile.TemporaryDirectory() as folder:
        for point in codec.operating_points[:3:2]:
            out = Path(folder) / point.label
            narrow = codec.narrowed(codec.widths[point.index]).requires_grad_(False)
            export_codec(narrow, {"_target_": subject.config["_target_"], **narrow.plain_arguments()}, out)
            alone = load_codec(out)
            kept = list(codec.operating_points[: point.index + 1])
            expect_equal(list(alone.operating_points), kept, f"after narrowing to {point.label} the points")
            data = subject.file(x, point)
            decoded = subject.decoded(data, point, alone)
            expect_same(decoded, subject.decoded(data, point), f"of the export at {point.label} the whole one's image")
            made = alone.pack(alone.compress(x, point), point)
            expect(made == data, f"of the export at {point.label} the whole one's file", "another one")
            size = (out / "codec.safetensors").stat().st_size
            expect(size > before, f"at {point.label} more than the {before} bytes of the narrower export", size)
            before = size


def everything_comes_trained(subject: Subject) -> None:
    """A pass over all points reaches every parameter with finite gradients: distributed training refuses others."""
    twin = copy.deepcopy(subject.codec).requires_grad_(True).train()
    # Statistics over a batch need more than one of what has no places, as images have.
    x, total = subject.example(64, 64, n=1 if subject.of_images else 2), torch.zeros(())
    for point in twin.operating_points:
        output = twin(x, point, **subject.receiver(point))
        total = total + output.x_hat.square().mean() - sum(v.log2().mean() for v in output.likelihoods.values())
    losses = [model.loss() for model in twin.entropy_models() if hasattr(model, "quantiles")]
    (total + torch.stack(losses).sum()).backward()
    named = {n: p for n, p in twin.named_parameters() if n.split(".")[0] not in OTHER_TASKS}
    expect_equal([n for n, p in named.items() if p.grad is None], [], "parameters without a gradient:")
    wild = [n for n, p in named.items() if p.grad is not None and not p.grad.isfinite().all()]
    expect_equal(wild, [], "parameters with a gradient that is not finite:")


def builds_and_runs_on_the_meta_device(subject: Subject) -> None:
    """Checkpoints are measured, and operations counted, without memory."""
    with torch.device("meta"):
        outline = build_codec(subject.config).eval()
        x = torch.empty_like(subject.example(64, 128), device="meta")
    shapes, own = ({k: tuple(v.shape) for k, v in c.named_parameters()} for c in (outline, subject.codec))
    differ = {k: (shapes.get(k), own.get(k)) for k in shapes.keys() | own.keys() if shapes.get(k) != own.get(k)}
    expect_equal(differ, {}, "parameters whose shape differs from that of the config:")
    point = outline.operating_points[0]
    with torch.no_grad():
        y = outline.analysis(x, point)
        x_hat = outline.synthesis(y, point, **subject.receiver(point))
    expected = tuple(x.shape) if subject.of_images else (len(x), *x_hat.shape[1:])
    expect_equal(tuple(x_hat.shape), expected, "on the meta device a result of shape")


def entropy_models_are_named_so(subject: Subject) -> None:
    """Published parameter counts leave entropy models out; they are told by their name."""
    named = [name for name, module in subject.codec.named_modules() if hasattr(module, "_quantized_cdf")]
    others = [name for name in named if not in_entropy_model(name)]
    expect_equal(others, [], "entropy models that do not stand below a submodule entropy_...:")
