"""Losses by name: what Keras has, the Tversky loss, and weighted sums."""

from nucleiseg._optional import lazy_package

__getattr__, __dir__, __all__ = lazy_package(__name__, __file__)
