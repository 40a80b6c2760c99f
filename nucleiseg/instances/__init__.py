"""Nuclei as instances: from probabilities to labels, measures, files and scores. NumPy and SciPy arrays only."""

from nucleiseg.instances.decoders import Decoded, get_decoder, list_decoders, register_decoder
from nucleiseg.instances.exporting import write_labels, write_mask, write_picture
from nucleiseg.instances.measuring import measure
from nucleiseg.instances.pixels import PixelCounts, count_pixels
from nucleiseg.instances.run_lengths import decode_run_lengths, encode_run_lengths
from nucleiseg.instances.splitting import split_by_distance, split_components

__all__ = [
    "Decoded",
    "PixelCounts",
    "count_pixels",
    "decode_run_lengths",
    "encode_run_lengths",
    "get_decoder",
    "list_decoders",
    "measure",
    "register_decoder",
    "split_by_distance",
    "split_components",
    "write_labels",
    "write_mask",
    "write_picture",
]
