"""The conformance suite: what every codec promises, as checks for codecs of your own, too.

    from nic_lightning.testing import check_codec, codec_checks

    check_codec(codec)                                       # raises CheckFailure, which names what is wrong

    @pytest.mark.parametrize("check", codec_checks(codec))   # or one test for each check
    def test_my_codec(check):
        check()

No test framework is needed. The codec itself stays as it is: a copy is checked.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from nic_lightning.baselines.still import StillImageCodec
from nic_lightning.codecs.base import ImageCodec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.narrowing import NarrowableCodec
from nic_lightning.errors import UserError, choices
from nic_lightning.testing import evaluation, files, learned
from nic_lightning.testing.subject import Subject, Unmet, excited, smooth_images

__all__ = ["Check", "CheckFailure", "check_codec", "check_names", "codec_checks", "excited", "smooth_images"]


class CheckFailure(AssertionError):
    """A codec does not keep a promise: the check's name, what was expected, and what came."""


@dataclass(frozen=True)
class Check:
    """One promise; calling it raises CheckFailure where the codec does not keep it.

    Where it is expected to fail and does, calling it raises unittest.SkipTest with the reason, which pytest and
    unittest report as a skipped test; where it is and does not, CheckFailure.
    """

    name: str
    subject: Subject
    expected_failure: str | None
    """Why it is known to fail; None where it should pass."""
    _run: Callable[[Subject], None]

    @property
    def __name__(self) -> str:
        """What pytest calls the test."""
        return self.name

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> None:
        """Raise CheckFailure, or SkipTest where a failure was expected."""
        try:
            self._checked()
        except CheckFailure as failure:
            if self.expected_failure is None:
                raise
            raise unittest.SkipTest(f"expected to fail: {self.expected_failure}") from failure
        if self.expected_failure is not None:
            raise CheckFailure(
                f"{self._head()}: expected a failure ({self.expected_failure}), got none: take it out of "
                "expected_failures."
            )

    def _checked(self) -> None:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self._run(self.subject)
        except Unmet as unmet:
            raise CheckFailure(f"{self._head()}: {unmet}.") from unmet.__cause__
        except Exception as error:  # whatever the codec raises
            said = " ".join(str(error).split())[:500].rstrip(".")
            raise CheckFailure(f"{self._head()}: expected no error, got {type(error).__name__}: {said}.") from error

    def _head(self) -> str:
        return f"{getattr(self.subject.codec, 'name', type(self.subject.codec).__name__)}, {self.name}"


def codec_checks(
    codec: ImageCodec,
    config: Mapping[str, Any] | None = None,
    *,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Check]:
    """The checks that apply to a codec, for `pytest.mark.parametrize`. Arguments and errors are `check_codec`'s."""
    reasons = dict(expected_failures or {})
    subject = Subject.of(codec, config)
    known = [name for name, (applies, _) in _CHECKS.items() if applies(subject)]
    for name in reasons:
        if name not in known:
            raise UserError(f"No check of this codec is named {name!r}; {choices(name, known)}.")
    return [Check(name, subject, reasons.get(name), _CHECKS[name][1]) for name in known]


def check_codec(
    codec: ImageCodec,
    config: Mapping[str, Any] | None = None,
    *,
    expected_failures: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Run all checks that apply to a codec: "passed" or "expected to fail: REASON", by the check's name.

    A learned codec is checked with the tables that it has; where it has none, a copy makes them. `excited` lets the
    symbols of an untrained one vary.

    Args:
        codec: a learned codec, a classic one, or anything that keeps to `codecs.base.ImageCodec`.
        config: what builds the codec, {"_target_": "package.module.Class", argument: value}. With it, state, narrowed
            exports and the meta device are checked, too, and of a classic codec both ends of its range.
        expected_failures: reasons by the names of checks that are known to fail. One of them that passes is a failure.

    Raises:
        CheckFailure: one line for each check that fails, with its name, what was expected and what came.
        UserError: `expected_failures` names a check that there is not, or the config names no class.
    """
    results: dict[str, str] = {}
    failures: list[CheckFailure] = []
    for check in codec_checks(codec, config, expected_failures=expected_failures):
        try:
            check()
            results[check.name] = "passed"
        except unittest.SkipTest as skip:
            results[check.name] = str(skip)
        except CheckFailure as failure:
            failures.append(failure)
    if failures:
        raise CheckFailure("\n".join(map(str, failures))) from failures[0].__cause__
    return results


def check_names() -> list[str]:
    """Names of all checks, whatever codecs they apply to."""
    return list(_CHECKS)


_Applies = Callable[[Subject], bool]


def _any(subject: Subject) -> bool:
    return True


def _images(subject: Subject) -> bool:
    return subject.of_images


def _learned(subject: Subject) -> bool:
    return isinstance(subject.codec, LearnedCodec)


def _learned_of_images(subject: Subject) -> bool:
    return _learned(subject) and subject.of_images


def _learned_with_config(subject: Subject) -> bool:
    return _learned(subject) and subject.config is not None


def _narrowable(subject: Subject) -> bool:
    return isinstance(subject.codec, NarrowableCodec) and subject.config is not None


def _ranged(subject: Subject) -> bool:
    return subject.config is not None or not isinstance(subject.codec, StillImageCodec)


_CHECKS: dict[str, tuple[_Applies, Callable[[Subject], None]]] = {
    "is_an_image_codec_with_distinct_points": (_any, files.is_an_image_codec_with_distinct_points),
    **{
        f"files_bring_back_images_of_{height}x{width}": (
            _any, partial(files.files_bring_back_images, height=height, width=width),
        )
        for height, width in files.SIZES
    },
    "both_ends_of_the_range_bring_back_images": (_ranged, files.both_ends_of_the_range_bring_back_images),
    "hostile_bytes_end_in_a_sentence": (_any, files.hostile_bytes_end_in_a_sentence),
    "forward_pass": (_learned, learned.forward_pass),
    "decoding_gives_what_the_forward_pass_gave": (_learned, learned.decoding_gives_what_the_forward_pass_gave),
    "strips_give_what_the_whole_image_gives": (_learned_of_images, learned.strips_give_what_the_whole_image_gives),
    "points_have_bytes_and_labels": (_learned, learned.points_have_bytes_and_labels),
    "a_state_dict_makes_the_same_codec": (_learned_with_config, learned.a_state_dict_makes_the_same_codec),
    "a_narrowed_export_reads_the_files_of_the_whole": (
        _narrowable, learned.a_narrowed_export_reads_the_files_of_the_whole,
    ),
    "everything_comes_trained": (_learned, learned.everything_comes_trained),
    "builds_and_runs_on_the_meta_device": (_learned_with_config, learned.builds_and_runs_on_the_meta_device),
    "entropy_models_are_named_so": (_learned, learned.entropy_models_are_named_so),
    "an_image_too_small_for_a_metric_is_in_no_mean_of_it": (
        _images, evaluation.an_image_too_small_for_a_metric_is_in_no_mean_of_it,
    ),
    "an_image_that_the_codec_refuses_is_a_gap": (_any, evaluation.an_image_that_the_codec_refuses_is_a_gap),
    "a_killed_evaluation_goes_on_after_its_last_image": (
        _any, evaluation.a_killed_evaluation_goes_on_after_its_last_image,
    ),
}  # fmt: skip
