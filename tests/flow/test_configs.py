from __future__ import annotations

from dataclasses import asdict

import pytest
import yaml

from nic_lightning.config import CONF_DIR, compose, options
from nic_lightning.flow.refinement import DEFAULTS
from nic_lightning.flow.semi_global_matching import Potts
from nic_lightning.flow.settings import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_the_files_of_the_published_pipelines_say_what_the_code_does(name):
    from hydra.utils import instantiate

    made = asdict(instantiate(compose("evaluate", [f"flow={name}"]).flow, _convert_="all"))
    preset = asdict(PRESETS[name])
    assert made.pop("refinement") == DEFAULTS
    assert preset.pop("refinement") == {}  # the same
    for key in ("lambdas", "other_lambdas"):
        made[key] = tuple(made[key])
    assert made == preset


def test_every_file_says_in_its_first_line_what_it_is():
    assert {"dcflow", "timcflow", "simplified", "dis_medium", "raft_large"} <= set(options("flow"))
    for name in options("flow"):
        text = (CONF_DIR / "flow" / f"{name}.yaml").read_text()
        assert text.startswith("# ")
        assert yaml.safe_load(text)["_target_"].startswith("nic_lightning.")


def test_what_is_chosen_for_the_simplified_pipeline_leaves_the_others_as_published():
    for name in ("dcflow", "timcflow"):
        config = PRESETS[name]
        assert (config.ratio, config.outside_cost, config.cost_filter) == (3, 64, None)
        assert config.smoothness == Potts(7, 600, 0.02)
