"""Encoders, upsampling blocks and the U-Net that joins them. Keras is imported when a piece is first used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
