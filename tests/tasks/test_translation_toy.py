"""Does it learn? Discs whose colour is their domain, at three weights of the rate."""

from __future__ import annotations

import pytest
import torch

from nic_lightning.data.domains import DomainFolders

from .discs import Watch, colour_of, config, fit, make_task, write_discs

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
