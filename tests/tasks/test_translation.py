from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.callbacks.translations import TranslationGrid
from nic_lightning.codecs.loading import build_codec, load_codec
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import UserError
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.tasks.translation import TranslationTask
from nic_lightning.tasks.translation_steps import portions, take

from .discs import colour_of, config, fit, make_task, noise, write_discs


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("discs"))


def parameters(task) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in task.named_parameters() if not n.startswith("codec.")}


def moved(before, after) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def parts_of(names) -> set[str]:
    """Networks, by their first names; of the entropy models, which one."""
    heads = (name.removeprefix("network.").split(".") for name in names)
    return {".".join(h[: 2 if h[0] in ("discriminators", "entropy_z") else 1]) for h in heads}


CODER = {"encoder", "decoder", "h_a", "h_s"}


@pytest.mark.parametrize("half", [False, True])
def test_every_step_moves_what_it_trains(half):
    """Also in one autocast region for all steps, as in training, whose cache holds weights of before."""
    task = make_task(learning_rate=1e-2, mapping_learning_rate=1e-2)
    generator, discriminator, _ = task.configure_optimizers()
    found = []
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        for step in task.steps(0, 1.0):
            before = parameters(task)
            terms = take(
                step,
                portions(noise(), 4, 1),
                discriminator if step.trains_discriminator else generator,
                task._trainable(),
            )
            assert all(math.isfinite(value) and value.dtype == torch.float32 for value in terms.values())
            names = moved(before, parameters(task))
            found.append((step.name, parts_of(names)))
            kernels = {n for n in before if n.endswith("weight") and parts_of([n]) <= parts_of(names)}
            still = {n for n in kernels - names if "norm" not in n}
            assert still == set(), step.name
            assert not any(n.endswith("quantiles") for n in names)
            assert any("unit" in n for n in names) == (step.name == "autoencode" and not step.trains_discriminator)
    assert found == [
        ("latent", {"discriminators.translate"}),
        ("reference", {"discriminators.translate"}),
        ("autoencode", {"discriminators.autoencode"}),
        ("latent", CODER | {"entropy_z.0", "mapping", "style_encoder"}),
        ("autoencode", CODER | {"entropy_z.1"}),
        ("reference", CODER | {"entropy_z.0"}),
    ]
    assert all(p.requires_grad for n, p in task.named_parameters() if not n.startswith("codec."))


def test_steps_in_one_autocast_region_equal_steps_in_regions_of_their_own():
    """Autocast keeps casted weights until its region ends: they would be those from before an optimiser's step."""
    ends = []
    for together in (True, False):
        task, parts = make_task(learning_rate=1e-2), portions(noise(), 4, 1)
        generator, discriminator, _ = task.configure_optimizers()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=together):
            for step in task.steps(0, 1.0) * 2:
                with torch.autocast("cpu", torch.bfloat16):
                    take(step, parts, discriminator if step.trains_discriminator else generator, task._trainable())
        ends.append(parameters(task))
    assert moved(*ends) == set()


def test_one_adam_with_groups_equals_one_for_each_network():
    """And what the frozen networks of a step would have got for gradients is not missed."""
    ours, theirs = make_task(), make_task()
    generator, discriminator, _ = ours.configure_optimizers()
    network = theirs.network
    named = [(n, p) for n, p in network.named_parameters() if not n.endswith("quantiles")]
    coder = [p for n, p in named if parts_of([n]) <= {*CODER, "entropy_z.0", "entropy_z.1"}]
    # A bias before a normalisation has rounding errors for a gradient, which Adam would blow up to whole steps.
    adam = {"lr": 1e-4, "betas": (0.0, 0.99), "weight_decay": 1e-4, "fused": True, "eps": 1e-3}
    for group in (*generator.param_groups, *discriminator.param_groups):
        group["eps"] = 1e-3
    adams = {
        "coder": torch.optim.Adam(coder, **adam),
        "mapping": torch.optim.Adam(network.mapping.parameters(), **adam | {"lr": 1e-6}),
        "style": torch.optim.Adam(network.style_encoder.parameters(), **adam),
        "discriminators": torch.optim.Adam(theirs.discriminators.parameters(), **adam),
    }
    for i in range(5):
        batch = noise(seed=i)
        torch.manual_seed(i)
        parts = portions(batch, 4, 1)
        for step in ours.steps(i, 1.0):
            take(step, parts, discriminator if step.trains_discriminator else generator, ours._trainable())
        torch.manual_seed(i)
        parts = portions(batch, 4, 1)
        for step in theirs.steps(i, 1.0):
            for parameter in theirs.parameters():
                parameter.grad = None
            step.loss(parts[0])[0].backward()
            chosen = ["discriminators"] if step.trains_discriminator else ["coder"]
            chosen += ["mapping", "style"] if step.name == "latent" and not step.trains_discriminator else []
            for name in chosen:
                adams[name].step()
    for (name, mine), other in zip(parameters(ours).items(), parameters(theirs).values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-7, msg=name)


def test_a_batch_in_parts_is_the_batch(monkeypatch):
    tasks = [make_task() for _ in range(3)]
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda tensor, *_: tensor.zero_())
    ends = []
    for count, task in zip((1, 2, 3), tasks, strict=True):
        generator, discriminator = (
            torch.optim.SGD(p, 1e-2) for p in (task.network.parameters(), task.discriminators.parameters())
        )
        torch.manual_seed(3)
        parts = portions(noise(8), 4, count)
        assert len(parts) == count
        terms = {}
        for step in task.steps(0, 1.0):
            terms |= take(step, parts, discriminator if step.trains_discriminator else generator, task._trainable())
        ends.append((parameters(task), terms))
    for weights, terms in ends[1:]:
        for name, value in ends[0][0].items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6, msg=name)
        assert {n: float(v) for n, v in terms.items()} == pytest.approx(
            {n: float(v) for n, v in ends[0][1].items()}, rel=1e-4, abs=1e-6
        )
    assert len(portions(noise(1), 4, 8)) == 1


def test_what_an_iteration_trains_follows_from_its_number():
    names = ["latent", "reference", "autoencode", "latent", "autoencode", "reference"]
    task = make_task(warm_up=10, diversity=2.0, diversity_iterations=100)
    assert [s.name for s in task.steps(9, 1.0)] == ["autoencode"]
    assert [s.name for s in task.steps(10, 1.0)] == names
    assert [task.diversity_weight(i) for i in (0, 10, 60, 110, 999)] == [2.0, 2.0, 1.0, 0.0, 0.0]
    alternate = make_task(mode_schedule="alternate")
    assert [[s.name for s in alternate.steps(i, 1.0)] for i in (0, 1)] == [
        ["latent", "reference", "latent", "reference"],
        ["autoencode", "autoencode"],
    ]
    drawn = make_task(mode_schedule="random", autoencode_probability=0.25)
    share = sum(drawn.modes(i)[1] for i in range(2000)) / 2000
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)
    assert all(a != b for a, b in (drawn.modes(i) for i in range(50)))
    only = make_task(mode_schedule="autoencode", beta=0.0)
    assert [s.name for s in only.steps(0, 1.0)] == ["autoencode"]
    plain = make_task(config("I2ICodec"), warm_up=10)
    assert [s.name for s in plain.steps(0, 1.0)] == ["latent", "reference"] * 2
    assert set(plain.discriminators) == {"translate"}


def test_terms_without_weight_give_no_gradient():
    """StarGAN v2 is trained without a rate: its hyperprior is left alone, by Adam's weight decay, too."""
    task = make_task(config("I2ICodec", decoder_input="continuous"), lambda_t=0.0)
    generator, *_ = task.configure_optimizers()
    before = parameters(task)
    latent = task.steps(0, 0.0)[2]
    take(latent, portions(noise(), 4, 1), generator, task._trainable())
    assert parts_of(moved(before, parameters(task))) == {"encoder", "decoder", "mapping", "style_encoder"}


class Watch(pl.Callback):
    """Weights and measurements after each iteration."""

    def __init__(self) -> None:
        self.weights, self.latest = {}, {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        network = pl_module.network.named_parameters()
        self.weights[trainer.global_step] = {n: p.detach().clone() for n, p in network}
        self.latest[trainer.global_step] = {n: float(v) for n, v in pl_module.latest.items()}


def test_the_codec_is_the_moving_average_and_steps_are_iterations(discs, tmp_path):
    watch, task = Watch(), make_task(learning_rate=1e-3, ema_decay=0.9)
    start = {n: p.detach().clone() for n, p in task.codec.named_parameters()}
    pictures = TranslationGrid(every_n_steps=2, sources=3)
    trainer = fit(discs, task, 3, callbacks=[watch, pictures], precision="bf16-mixed", default_root_dir=tmp_path)
    with Image.open(tmp_path / "figures" / "translations" / "step_0000002.png") as picture:
        assert picture.size == (6 * 16, 6 * 16)  # 3 sources of 2 domains; source, 2 styles of 2 domains, reconstruction
    assert trainer.global_step == 3
    assert sorted(watch.weights) == [1, 2, 3]
    assert all(math.isfinite(v) for v in watch.latest[3].values())
    expected = {
        n: 0.9**3 * value + sum(0.1 * 0.9 ** (3 - k) * watch.weights[k][n] for k in (1, 2, 3))
        for n, value in start.items()
    }
    for name, value in task.codec.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6, msg=name)
    assert len(moved(watch.weights[3], dict(task.codec.named_parameters()))) > len(expected) / 2
    training = copy.deepcopy(task.state_dict())
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert all(torch.equal(v, training[n]) for n, v in task.state_dict().items())  # tables were made on a copy
    loaded = load_codec(tmp_path / "x.ckpt")
    assert torch.equal(loaded.encoder.from_rgb.weight, task.codec.encoder.from_rgb.weight)
    images = [(n, DomainFolders(discs).images[i][0][1]) for i, n in enumerate(("a", "b"))]
    rows = evaluate_codec(loaded, images, "discs", save_images=tmp_path)
    assert [(row["mode"], row["psnr"] is not None if "psnr" in row else False) for row in rows] == [
        ("translate", False),
        ("autoencode", True),
    ] * 2
    assert all(row["bpp"] > 0 and row["bpp_estimated"] > 0 for row in rows)
    assert len(list(tmp_path.glob("discs/*/translate.png"))) == 2


def differences(one, other, path=""):
    """Where two checkpoints differ in a bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        return [d for key in one for d in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), path
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [path]


def test_a_resumed_run_goes_on_as_if_never_interrupted(discs, tmp_path):
    """Weights, averages, optimisers, random state and weights of losses, from within the warm-up and after it."""

    def run(steps, folder, **options):
        watch = Watch()
        task = make_task(
            learning_rate=1e-3, warm_up=3, diversity_iterations=5, mode_schedule="random", accumulate=2, ema_decay=0.9
        )
        torch.manual_seed(7)
        callbacks = [watch, RandomState(), Checkpoints(tmp_path / folder, 2)]
        data = {"validation": str(discs), "samples_per_epoch": 16}
        trainer = fit(
            discs, task, steps, callbacks=callbacks, plugins=[AtomicCheckpointIO()], data=data, val_check_interval=2,
            **options,
        )  # fmt: skip
        trainer.save_checkpoint(tmp_path / folder / "end.ckpt")
        end = torch.load(tmp_path / folder / "end.ckpt", weights_only=True)
        loops = end["loops"]["fit_loop"]
        del loops["epoch_loop.batch_progress"]["total"]["ready"]  # batches fetched, some in vain
        del loops["epoch_loop.val_loop.batch_progress"]["total"]  # a restart changes it; nothing depends on it
        return end, watch

    whole, uninterrupted = run(6, "whole")
    assert whole["global_step"] == 6
    for steps in (3, 5):
        run(steps, "cut")
        torch.manual_seed(99)
        end, resumed = run(6, "cut", ckpt_path=str(tmp_path / "cut" / "last.ckpt"))
        assert sorted(resumed.latest) == list(range(steps, 7))
        assert differences(end, whole) == []
        for step, values in resumed.latest.items():
            assert all(uninterrupted.latest[step][name] == value for name, value in values.items())


def test_what_a_user_gets_wrong(discs, make_codec):
    def task(codec=None, **arguments):
        return TranslationTask(codec or build_codec(config()), **arguments)

    with pytest.raises(UserError, match="modulated does not translate"):
        task(make_codec("modulated"))
    with pytest.raises(UserError, match=r"size is 16, no multiple of 64: lower codec\.halvings"):
        task(build_codec(config(halvings=4)))
    for wrong in ({"mode_schedule": "sometimes"}, {"accumulate": 0}, {"ema_decay": 1.0}, {"autoencode_probability": 2}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            task(**wrong)

    def start(precision="32-true", crop=16, images=None, **codec):
        images = DomainFolders(discs) if images is None else images
        made = task(build_codec(config(**codec)))
        made._trainer = SimpleNamespace(
            precision=precision, datamodule=SimpleNamespace(train_images=images, crop=crop), global_rank=0
        )
        made.on_fit_start()

    start()
    with pytest.raises(UserError, match=r"blue, red, the codec cat, dog: give codec\.domains=\[blue,red\]"):
        start(domains=["cat", "dog"])
    with pytest.raises(UserError, match=r"data\.size is 32 and codec\.size 16"):
        start(crop=32)
    with pytest.raises(UserError, match="several domains: give data="):
        start(images=[])
    with pytest.raises(UserError, match=r"precision is 16-mixed; .* 32-true or bf16-mixed"):
        start(precision="16-mixed")


RATES: dict[float, float] = {}
TOY = {"base": 8, "widest": 32, "latents": 32, "hyper": 32, "style_dim": 16, "latent_dim": 8, "size": 32}


def accuracies(codec, x, encoded) -> dict[str, float]:
    """Share of translations with the colour of their domain, by a classifier that was not trained with them."""
    right, point = {"latent": 0, "reference": 0}, codec.operating_points[0]
    for label, name in enumerate(codec.domains):
        styles = {
            "latent": codec.random_styles(name, len(x)),
            "reference": codec.reference_styles(name, x[label::2]).repeat(2, 1),
        }
        for kind, style in styles.items():
            made = codec.decompress(encoded, point, style=style)
            right[kind] += int((colour_of(made) == bool(label)).sum())
    return {kind: count / (2 * len(x)) for kind, count in right.items()}


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5])
def test_a_toy_learns_to_translate(weight, tmp_path, capsys):
    discs = write_discs(tmp_path / "discs")
    task = make_task(
        config("I2ICodec", **TOY), lambda_t=weight, learning_rate=1e-3, mapping_learning_rate=1e-5,
        diversity_iterations=200, ema_decay=0.9,
    )  # fmt: skip
    watch = Watch()
    fit(discs, task, 200, data={"batch_size": 8}, callbacks=[watch])
    codec = task.codec.eval()
    codec.update_tables()
    folders = DomainFolders(discs)
    x = torch.stack([folders.images[i % 2][i // 2][1] for i in range(32)])
    encoded = codec.compress(x, codec.operating_points[0])
    latents = codec.decode_latents(encoded, codec.operating_points[0])
    assert all(torch.equal(latents[name], value) for name, value in encoded.latents.items())
    accuracy, cycle = accuracies(codec, x, encoded), watch.latest[200]["train/cycle@latent"]
    RATES[weight] = 8 * sum(len(s) for column in encoded.strings for s in column) / (len(x) * 32 * 32)
    with capsys.disabled():
        print(f"\nlambda_t {weight}: {RATES[weight]:.2f} bpp, accuracy {accuracy}, cycle {cycle:.3f}")
    assert min(accuracy.values()) >= 0.9
    assert cycle < 0.2


@pytest.mark.slow
def test_the_weight_of_the_rate_is_a_lever():
    if len(RATES) < 3:
        pytest.skip("runs after the three toys, in their process")
    assert RATES[0.5] < 0.6 * RATES[0.1] < 0.2 * RATES[0.0]
