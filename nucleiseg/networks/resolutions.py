"""The resolutions of a U-Net. Imports no Keras, so that they can be defaults anywhere."""

STRIDES = (2, 4, 8, 16, 32)
"""Of the encoder's feature maps, in pixels of the image."""

DEFAULT_WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the upsampling path, from stride 16 to stride 1."""
