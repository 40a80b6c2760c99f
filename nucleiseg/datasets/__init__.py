"""Datasets: images with labels from disk or memory, split, cached and stacked. Knows no deep-learning framework."""

from nucleiseg.datasets.arrays import from_arrays
from nucleiseg.datasets.cache import clear_cache
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.reading import read
from nucleiseg.datasets.sample import Sample

__all__ = ["Dataset", "Sample", "clear_cache", "from_arrays", "read"]
