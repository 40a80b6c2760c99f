"""Nuclei as instances: from probabilities to labels, measures, files and scores. NumPy and SciPy arrays only."""

from nucleiseg.instances.aggregated_jaccard import JaccardCounts, count_aji, count_aji_plus
from nucleiseg.instances.assigning import assign
from nucleiseg.instances.coco import from_coco, to_coco, write_coco
from nucleiseg.instances.confidence import Calibration, calibrate, rate
from nucleiseg.instances.decoders import Decoded, get_decoder, list_decoders, register_decoder
from nucleiseg.instances.error_kinds import ErrorCounts, InstanceErrors, find_errors
from nucleiseg.instances.exporters import Exporter, get_exporter, list_exporters, register_exporter
from nucleiseg.instances.exporting import write_mask, write_picture
from nucleiseg.instances.filtering import filter_labels
from nucleiseg.instances.geojson import from_geojson, to_geojson, write_geojson
from nucleiseg.instances.imagej_rois import decode_rois, to_rois, write_rois
from nucleiseg.instances.label_tiffs import write_imagej_labels, write_labels, write_ome_labels
from nucleiseg.instances.match_counts import MatchCounts
from nucleiseg.instances.matching import THRESHOLDS, InstanceCounts, count_instances, match
from nucleiseg.instances.measuring import measure
from nucleiseg.instances.named_labels import NamedLabels
from nucleiseg.instances.overlaps import Overlap, count_overlap
from nucleiseg.instances.parquet import write_parquet
from nucleiseg.instances.pixels import PixelCounts, count_pixels
from nucleiseg.instances.polygons import Outline, fill_polygons, trace_polygons
from nucleiseg.instances.run_length_csv import write_run_lengths
from nucleiseg.instances.run_lengths import decode_run_lengths, encode_run_lengths, find_runs
from nucleiseg.instances.scoring import score_images
from nucleiseg.instances.splitting import split_by_distance, split_components
from nucleiseg.instances.summary import summarize
from nucleiseg.instances.touching import find_touching

__all__ = [
    "Calibration",
    "Decoded",
    "ErrorCounts",
    "Exporter",
    "InstanceCounts",
    "InstanceErrors",
    "JaccardCounts",
    "MatchCounts",
    "NamedLabels",
    "Outline",
    "Overlap",
    "PixelCounts",
    "THRESHOLDS",
    "assign",
    "calibrate",
    "count_aji",
    "count_aji_plus",
    "count_instances",
    "count_overlap",
    "count_pixels",
    "decode_rois",
    "decode_run_lengths",
    "encode_run_lengths",
    "fill_polygons",
    "filter_labels",
    "find_errors",
    "find_runs",
    "find_touching",
    "from_coco",
    "from_geojson",
    "get_decoder",
    "get_exporter",
    "list_decoders",
    "list_exporters",
    "match",
    "measure",
    "rate",
    "register_decoder",
    "register_exporter",
    "score_images",
    "split_by_distance",
    "split_components",
    "summarize",
    "to_coco",
    "to_geojson",
    "to_rois",
    "trace_polygons",
    "write_coco",
    "write_geojson",
    "write_imagej_labels",
    "write_labels",
    "write_mask",
    "write_ome_labels",
    "write_parquet",
    "write_picture",
    "write_rois",
    "write_run_lengths",
]
