"""Optimisers and schedules of conf/optimizer and conf/schedule, as a task uses them."""

from __future__ import annotations

import copy

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from nic_lightning.config import ConfigError, check_targets, compose, options
from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import rate_distortion
from nic_lightning.tasks.muon import ITERATIONS, Muon, orthogonal
from nic_lightning.tasks.optimizers import Together, kernels_of
from nic_lightning.tasks.rate_distortion import RateDistortionTask
from nic_lightning.tasks.schedule import Cosine, OneCycle
from tests.tasks.samples import codec_of


def task_of(*overrides: str) -> RateDistortionTask:
    config = compose("train", ["codec.width=8", *overrides])
    assert check_targets(config) == []
    return instantiate(config.task, _partial_=True, _convert_="all")(codec=codec_of(), codec_config=None)


def steps(task: RateDistortionTask, x: torch.Tensor, count: int) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser, and losses; the auxiliary loss is part of them."""
    optimizer = task.configure_optimizers()["optimizer"]
    losses = []
    task.codec.eval()  # rounding in place of noise
    for _ in range(count):
        points = task.codec.operating_points
        loss = sum(rate_distortion(task.codec(x, p), x, p.lmbda or 0.0).loss for p in points)
        optimizer.zero_grad()
        (loss + task.codec.auxiliary_loss()).backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return optimizer, losses


@pytest.mark.parametrize("name", options("optimizer"))
def test_each_lowers_the_loss_and_goes_on_from_its_state(name: str, picture):
    torch.manual_seed(0)
    x = picture(32, 32, n=2)
    task = task_of(f"optimizer={name}", *([] if name == "prodigy" else ["task.learning_rate=1e-3"]))
    optimizer, losses = steps(task, x, 12)
    assert losses[-1] < losses[0]
    trained = sum(p.numel() for p in task.codec.parameters() if p.requires_grad)
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == trained
    again = task.configure_optimizers()["optimizer"]
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = {n: p.detach().clone() for n, p in task.codec.named_parameters()}
    gradients = {n: p.grad.clone() for n, p in task.codec.named_parameters() if p.grad is not None}
    ends = []
    for one in (optimizer, again):
        task.codec.load_state_dict(before, strict=False)
        for n, gradient in gradients.items():
            task.codec.get_parameter(n).grad = gradient.clone()  # a step may change it
        one.step()
        ends.append({n: p.detach().clone() for n, p in task.codec.named_parameters()})
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in ends[0])
    assert any(not torch.equal(ends[0][n], before[n]) for n in before)


def test_without_a_choice_it_is_adam_as_ever():
    chosen, plain = (task_of(*o).configure_optimizers()["optimizer"] for o in (["optimizer=adam"], []))
    assert type(chosen) is type(plain) is torch.optim.Adam
    assert [g["name"] for g in chosen.param_groups] == [g["name"] for g in plain.param_groups]


def test_only_kernels_decay():
    optimizer = task_of("optimizer=adamw", "task.optimizer.weight_decay=0.3").configure_optimizers()["optimizer"]
    decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {"network": 0.3, "network, without decay": 0.0, "quantiles": 0.0}
    kernels = kernels_of(codec_of())
    assert sum(p.numel() for p in optimizer.param_groups[0]["params"]) == sum(p.numel() for p in kernels)


def test_muon_leaves_entropy_models_and_quantiles_to_adam():
    task = task_of("optimizer=muon", "+task.learning_rate_factors.g_s=0.5", "task.learning_rate=1e-3")
    optimizer = task.configure_optimizers()["optimizer"]
    assert isinstance(optimizer, Together)
    assert [type(part) for part in optimizer.parts] == [Muon, torch.optim.Adam]
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates["network.g_s"] == rates["network.g_s, by Adam"] == 0.5e-3
    assert {g["name"] for g in optimizer.parts[0].param_groups} == {"network", "network.g_s"}
    own = {p for g in optimizer.parts[0].param_groups for p in g["params"]}
    assert own == kernels_of(task.codec)
    for group in optimizer.param_groups:  # what a schedule sets is what the parts use
        group["lr"] = 7.0
    assert all(group["lr"] == 7.0 for part in optimizer.parts for group in part.param_groups)


@pytest.mark.parametrize("dtype", ITERATIONS.values())
@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5)])
def test_updates_of_muon_are_nearly_orthogonal(shape: tuple[int, int], dtype: torch.dtype):
    torch.manual_seed(0)
    found = orthogonal(torch.randn(shape) * 1e-3, dtype=dtype)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.3
    u, _, vh = torch.linalg.svd(torch.eye(6)[:4], full_matrices=False)
    torch.testing.assert_close(orthogonal(u @ vh).norm(dim=1), torch.ones(4), atol=0.3, rtol=0)


def test_muons_steps_are_as_long_as_adams():
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 48, 5, bias=False)
    before = layer.weight.detach().clone()
    optimizer = Muon([layer.weight], lr=1e-2)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimizer.step()
    moved = (layer.weight.detach() - before).square().mean().sqrt()
    assert moved == pytest.approx(0.2e-2, rel=0.25)  # singular values are about 1


def test_muon_refuses_vectors_and_foreign_states():
    with pytest.raises(UserError, match="a vector"):
        Muon([nn.Parameter(torch.zeros(3))])
    with pytest.raises(UserError, match="momentum of 0 to 1"):
        Muon([nn.Parameter(torch.zeros(3, 3))], momentum=1.0)
    with pytest.raises(UserError, match="bfloat16"):
        Muon([nn.Parameter(torch.zeros(3, 3))], iteration="bfloat")
    optimizer = task_of("optimizer=muon").configure_optimizers()["optimizer"]
    adam = task_of().configure_optimizers()["optimizer"]
    with pytest.raises(UserError, match=r"another task\.optimizer"):
        optimizer.load_state_dict(adam.state_dict())


def test_a_state_of_muon_without_precision_goes_on_in_float32():
    weight = nn.Parameter(torch.ones(3, 3))
    optimizer = Muon([weight], iteration="bfloat16")
    state = optimizer.state_dict()
    del state["param_groups"][0]["iteration"]
    optimizer.load_state_dict(state)
    weight.grad = torch.ones(3, 3)
    optimizer.step()
    assert optimizer.param_groups[0]["iteration"] == "float32"


def rates(make, count: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule, seen = make(optimizer), []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_cosine():
    plain = rates(lambda o: Cosine(o, 100), 100)
    theirs = rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100), 100)
    assert plain == pytest.approx(theirs, abs=1e-9)
    warm = rates(lambda o: Cosine(o, 100, warmup=20, floor=0.1), 101)
    assert warm[0] == 0.01
    assert warm[20] == pytest.approx(1.0)
    assert warm[100] == pytest.approx(0.1)


def test_one_cycle():
    mine = rates(lambda o: OneCycle(o, 101), 100)
    make = torch.optim.lr_scheduler.OneCycleLR
    theirs = rates(lambda o: make(o, 1.0, total_steps=102, cycle_momentum=False, final_div_factor=400), 100)
    assert mine == pytest.approx(theirs, abs=0.035)  # theirs ends the rise .7 of a step earlier, at .05 a step
    assert max(mine) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["schedule=cosine", "task.halve_at=[3]"], "takes the place"),
        (["schedule=cosine", "task.warmup=3"], "takes the place"),
        (["optimizer=adamw", "task.optimizer.weight_decay=-1"], "weight_decay is -1"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(overrides: list[str], sentence: str):
    with pytest.raises(UserError, match=sentence):
        task_of(*overrides).configure_optimizers()


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_schedules_need_an_end(name: str):
    make = Cosine if name == "cosine" else OneCycle
    with pytest.raises(UserError, match=r"trainer\.max_steps"):
        make(torch.optim.SGD([torch.zeros(1)], lr=1.0), None)
    with pytest.raises(UserError, match=r"task\.schedule has"):
        make(torch.optim.SGD([torch.zeros(1)], lr=1.0), 10, *([20] if name == "cosine" else [2.0]))


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="muon"):
        compose("train", ["optimizer=muonn"])


def test_schedule_free_is_validated_and_saved_with_its_mean(picture):
    torch.manual_seed(0)
    task = task_of("optimizer=schedule_free", "task.learning_rate=1e-3", "task.optimizer.weight_decay=0.1")
    optimizer, _ = steps(task, picture(32, 32, n=2), 3)
    trained = {n: p.detach().clone() for n, p in task.codec.named_parameters()}
    free = optimizer.parts[0]  # pyright: ignore[reportAttributeAccessIssue]
    free.eval()  # the package's own way to the mean
    wanted = {n: p.detach().clone() for n, p in task.codec.named_parameters()}
    with torch.no_grad():
        for name, parameter in task.codec.named_parameters():
            parameter.copy_(trained[name])
    for group in free.param_groups:
        group["train_mode"] = True
    assert any(not torch.equal(wanted[n], trained[n]) for n in wanted)
    checkpoint: dict = {}
    task.on_save_checkpoint(checkpoint)
    assert {n: torch.equal(v, wanted[n]) for n, v in checkpoint["codec"]["weights"].items()} == {
        n: True for n in wanted if "quantiles" not in n
    }
    task.on_validation_start()
    inside = {n: p.detach().clone() for n, p in task.codec.named_parameters() if "quantiles" not in n}
    assert all(torch.equal(inside[n], wanted[n]) for n in inside)
    task.on_validation_end()
    assert all(torch.equal(p, trained[n]) for n, p in task.codec.named_parameters())


def test_one_average_at_a_time():
    with pytest.raises(UserError, match=r"leave task\.average out\.$"):
        task_of("optimizer=schedule_free", "task.average=0.99").configure_optimizers()
    with pytest.raises(UserError, match=r"beta1 is 0; give a number above 0"):
        task_of("optimizer=schedule_free", "task.optimizer.beta1=0.0").configure_optimizers()
