"""From datasets to tf.data: augmentation, targets, losses, metrics, and the fit in two phases."""

from nucleiseg._optional import lazy_package

__getattr__, __dir__, __all__ = lazy_package(__name__, __file__)
