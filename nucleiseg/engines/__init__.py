"""Engines: what runs a network. Above them, nobody knows which one it is."""

from nucleiseg._optional import lazy_package

__getattr__, __dir__, __all__ = lazy_package(__name__, __file__)
