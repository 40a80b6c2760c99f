"""Images of nothing: what a camera and a slide show where there is no nucleus."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Standard deviations of noise; images are scaled by their own range, so it can be large.
_FINEST, _COARSEST = 0.004, 0.35
_CLOUD = 40.0  # pixels: unevenness much wider than nuclei


def empty_ground(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A ground without nuclei: a colour, lit from one side, uneven, with noise. Grey in half of the cases.

    Noise is drawn for each pixel or blurred over less than a nucleus; unevenness is wider than nuclei. Nothing is in
    between, where a blob could be a nucleus.

    Parameters
    ----------
    shape : (int, int, int)
        Height, width and channels.
    rng : numpy.random.Generator
        Where the random numbers come from.

    Returns
    -------
    numpy.ndarray of float32, (H, W, C)
        In [0, 1].

    Examples
    --------
    >>> ground = empty_ground((64, 64, 3), np.random.default_rng(0))
    >>> ground.shape, ground.dtype, bool(0 <= ground.min() <= ground.max() <= 1)
    ((64, 64, 3), dtype('float32'), True)
    """
    from scipy.ndimage import gaussian_filter

    height, width, channels = shape
    own = channels if rng.random() < 0.5 else 1  # channels that differ from each other
    blur = rng.uniform(0.4, 1.5) if rng.random() < 0.5 else 0.0
    strength = np.exp(rng.uniform(np.log(_FINEST), np.log(_COARSEST)))
    slope = rng.uniform(-0.4, 0.4, 2)
    uneven = rng.uniform(0, 0.15) * float(rng.random() < 0.5)
    level = rng.uniform(0, 1, own)

    noise = rng.standard_normal((height, width, own), np.float32)
    if blur:
        noise = gaussian_filter(noise, (blur, blur, 0), mode="wrap", truncate=3)
        noise /= noise.std() + np.float32(1e-6)
    ground = level.astype(np.float32) + np.float32(strength) * noise
    ground += np.linspace(-slope[0], slope[0], height, dtype=np.float32)[:, np.newaxis, np.newaxis]
    ground += np.linspace(-slope[1], slope[1], width, dtype=np.float32)[:, np.newaxis]
    if uneven:
        clouds = gaussian_filter(rng.standard_normal((height, width, 1), np.float32), (_CLOUD, _CLOUD, 0), mode="wrap")
        ground += np.float32(uneven) * clouds / (clouds.std() + np.float32(1e-6))
    return np.broadcast_to(np.clip(ground, 0, 1), shape).astype(np.float32)
