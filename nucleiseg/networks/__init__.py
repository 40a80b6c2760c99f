"""Encoders, upsampling blocks and the U-Net that joins them. Keras is imported when a piece is first used."""

from nucleiseg._optional import lazy_package

__getattr__, __dir__, __all__ = lazy_package(__name__, __file__)
