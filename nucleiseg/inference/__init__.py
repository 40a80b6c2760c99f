"""From an image to nuclei: options, the way through the network, the result, and how good it is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
