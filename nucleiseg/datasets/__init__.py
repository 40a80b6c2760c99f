"""Datasets: images with labels from disk or memory, split, cached, stacked and checked. No deep-learning framework."""

from nucleiseg.datasets.arrays import from_arrays
from nucleiseg.datasets.cache import clear_cache
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.doctor import CheckSettings, check, repair
from nucleiseg.datasets.reading import read
from nucleiseg.datasets.sample import Sample

__all__ = ["CheckSettings", "Dataset", "Sample", "check", "clear_cache", "from_arrays", "read", "repair"]
