"""Small films, made on the spot."""

import os

import cv2
import numpy as np


def write_film(path: str | os.PathLike, frames: int, *, rate: float = 10.0, side: int = 64) -> None:
    """Writes a film of grey frames, each a little lighter: an .avi of JPEGs, or an .mp4."""
    code = "MJPG" if str(path).lower().endswith(".avi") else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (side, side))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((side, side, 3), 10 * number, np.uint8))
    writer.release()
