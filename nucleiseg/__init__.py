"""Segment cell nuclei in microscopy images with Keras U-Nets.

Everything is imported when it is first used: ``import nucleiseg`` alone loads neither NumPy nor TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
