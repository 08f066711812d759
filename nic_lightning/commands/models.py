"""Which codec `nic compress` and `nic decompress` take: the one of --run, or a model of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nic_lightning import bitstream
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.media.base import Medium, look_at
from nic_lightning.zoo import Model, default_model, models

if TYPE_CHECKING:
    from nic_lightning.codecs.learned import LearnedCodec


def default_for(files: Sequence[Path]) -> Model:
    """The default model of the medium that files have; those that cannot be read are not asked.

    Raises UserError for files of several media, and where there is no such model.
    """
    found = {medium.name: medium for medium in map(_medium_of, files) if medium is not None}
    if len(found) > 1:
        kinds = " and ".join(medium.items for medium in found.values())
        raise UserError(f"The files are {kinds}, which no model takes together: give them one kind at a time.")
    return default_model(*found)


def _medium_of(path: Path) -> Medium | None:
    try:
        return look_at(path)
    except (UserError, OSError):
        return None


class Makers:
    """Finds the codec that wrote a file, by the fingerprint in its header: that of --run, or a model of the zoo."""

    def __init__(self, run: Path | None):
        self._run = run
        self._loaded: dict[Path, LearnedCodec] = {}

    def of(self, data: bytes) -> LearnedCodec:
        """Its codec; BitstreamError where the zoo has none that wrote it. With --run it is that one, which judges."""
        if self._run is not None:
            return self._load(self._run)
        medium, fingerprint = bitstream.made_by(data)
        here = [model for model in models() if model.card.medium == medium]
        # A codec of several widths writes files of narrower ones, whose fingerprints are known when it is loaded.
        here.sort(key=lambda model: model.card.fingerprint != fingerprint.hex())
        for model in here:
            if model.card.fingerprint == fingerprint.hex() or fingerprint in self._fingerprints(model.folder):
                return self._load(model.folder)
        raise BitstreamError(
            f"The file was made with a model that is not in the zoo ({fingerprint.hex()}): give the run, checkpoint or "
            "export that wrote it by --run."
        )

    def _load(self, source: Path) -> LearnedCodec:
        if source not in self._loaded:
            from nic_lightning.codecs.loading import load_codec

            self._loaded[source] = load_codec(source)
        return self._loaded[source]

    def _fingerprints(self, folder: Path) -> set[bytes]:
        """What the files of a model carry, at any of its operating points."""
        codec = self._load(folder)
        return {codec.file_fingerprint(point) for point in codec.candidate_points}
