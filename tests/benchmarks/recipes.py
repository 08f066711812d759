"""Small settings of codecs, as overrides."""

from __future__ import annotations

_TINY = ["codec.base=4", "codec.widest=8", "codec.halvings=2", "codec.latents=6", "codec.hyper=4", "codec.size=32"]
TRANSLATION = ["experiment=ui2icodec", *_TINY, "data.size=32", "data.batch_size=4"]
