from .encoders import get_encoder, list_encoders, register_encoder
from .pyramids import pyramid
from .resolutions import DEFAULT_WIDTHS, STRIDES
from .taking import take_weights
from .unets import find_encoder, unet
from .upsampling import get_upsampling, list_upsamplings, register_upsampling, resize_conv, upsample

__all__ = [
    "DEFAULT_WIDTHS",
    "STRIDES",
    "find_encoder",
    "get_encoder",
    "get_upsampling",
    "list_encoders",
    "list_upsamplings",
    "pyramid",
    "register_encoder",
    "register_upsampling",
    "resize_conv",
    "take_weights",
    "unet",
    "upsample",
]
