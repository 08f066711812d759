"""Labels of the working scale as flow of the full size."""

from __future__ import annotations

import cv2
import numpy as np


def scale_up(labels: np.ndarray, ratio: int, size: tuple[int, ...], bilinear: bool) -> np.ndarray:
    """Flow (H, W, 2) float32 in full-size pixels.

    Pixel j of the working scale is the block of full-size pixels from ratio * j to ratio * j + ratio - 1, and its label
    belongs to the block's centre. Rows and columns beyond the last whole block repeat it.

    Args:
        labels: (h, w, 2) in pixels of the working scale; NaN where unknown, which only blocks can show.
        ratio: full-size pixels to a pixel of the working scale.
        size: (H, W).
        bilinear: between the centres, instead of blocks.
    """
    height, width = labels.shape[:2]
    interpolation = cv2.INTER_LINEAR if bilinear else cv2.INTER_NEAREST
    flow = np.ascontiguousarray(labels, dtype=np.float32) * np.float32(ratio)
    flow = cv2.resize(flow, (width * ratio, height * ratio), interpolation=interpolation)
    return np.pad(flow, ((0, size[0] - height * ratio), (0, size[1] - width * ratio), (0, 0)), mode="edge")
