from __future__ import annotations

import math

import pytest
import torch

from nic_lightning.tasks.translation_steps import portions, take

from .discs import config, make_task, moved, noise, parameters


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
