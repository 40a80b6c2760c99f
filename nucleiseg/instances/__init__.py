"""Nuclei as instances: from probabilities to labels, measures, files and scores. NumPy and SciPy arrays only."""

from nucleiseg.instances.aggregated_jaccard import JaccardCounts, count_aji, count_aji_plus
from nucleiseg.instances.assigning import assign
from nucleiseg.instances.decoders import Decoded, get_decoder, list_decoders, register_decoder
from nucleiseg.instances.error_kinds import ErrorCounts, InstanceErrors, find_errors
from nucleiseg.instances.exporting import write_labels, write_mask, write_picture
from nucleiseg.instances.match_counts import MatchCounts
from nucleiseg.instances.matching import THRESHOLDS, InstanceCounts, count_instances, match
from nucleiseg.instances.measuring import measure
from nucleiseg.instances.overlaps import Overlap, count_overlap
from nucleiseg.instances.pixels import PixelCounts, count_pixels
from nucleiseg.instances.run_lengths import decode_run_lengths, encode_run_lengths
from nucleiseg.instances.scoring import score_images
from nucleiseg.instances.splitting import split_components

__all__ = [
    "Decoded",
    "ErrorCounts",
    "InstanceCounts",
    "InstanceErrors",
    "JaccardCounts",
    "MatchCounts",
    "Overlap",
    "PixelCounts",
    "THRESHOLDS",
    "assign",
    "count_aji",
    "count_aji_plus",
    "count_instances",
    "count_overlap",
    "count_pixels",
    "decode_run_lengths",
    "encode_run_lengths",
    "find_errors",
    "get_decoder",
    "list_decoders",
    "match",
    "measure",
    "register_decoder",
    "score_images",
    "split_components",
    "write_labels",
    "write_mask",
    "write_picture",
]
