from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
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

from .discs import Watch, config, fit, make_task, moved, write_discs


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("discs"))


def test_the_codec_is_the_moving_average_and_steps_are_iterations(discs, tmp_path, no_network):
    """And training needs no network."""
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


def test_what_a_user_gets_wrong(discs, make_codec, capsys):
    def task(codec=None, **arguments):
        return TranslationTask(codec or build_codec(config()), **arguments)

    with pytest.raises(UserError, match="modulated does not translate"):
        task(make_codec("modulated"))
    with pytest.raises(UserError, match=r"size is 16, no multiple of 64: lower codec\.halvings"):
        task(build_codec(config(halvings=4)))
    for wrong in ({"mode_schedule": "sometimes"}, {"accumulate": 0}, {"ema_decay": 1.0}, {"autoencode_probability": 2}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            task(**wrong)

    def start(precision="32-true", crop=16, images=None, batch_size=4, ranks=2, **codec):
        images = DomainFolders(discs) if images is None else images
        made = task(build_codec(config(**codec)))
        data = SimpleNamespace(train_images=images, crop=crop, batch_size=batch_size)
        made._trainer = SimpleNamespace(precision=precision, datamodule=data, global_rank=0, world_size=ranks)
        made.on_fit_start()

    start()
    assert capsys.readouterr().err == ""
    start(batch_size=3)
    assert capsys.readouterr().err.startswith("Batches of 6 images: StarGAN v2's training is unstable below 8")
    with pytest.raises(UserError, match=r"blue, red, the codec cat, dog: give codec\.domains=\[blue,red\]"):
        start(domains=["cat", "dog"])
    with pytest.raises(UserError, match=r"data\.size is 32 and codec\.size 16"):
        start(crop=32)
    with pytest.raises(UserError, match="several domains: give data="):
        start(images=[])
    with pytest.raises(UserError, match=r"precision is 16-mixed; .* 32-true or bf16-mixed"):
        start(precision="16-mixed")
