"""Datasets: images with labels from disk or memory, split, cached, stacked and checked. No deep-learning framework."""

from nucleiseg.datasets.arrays import from_arrays
from nucleiseg.datasets.cache import clear_cache
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.doctor import CheckSettings, check, repair
from nucleiseg.datasets.reading import read
from nucleiseg.datasets.sample import Sample
from nucleiseg.datasets.writing import write_pair

__all__ = ["CheckSettings", "Dataset", "Sample", "check", "clear_cache", "from_arrays", "read", "repair", "write_pair"]
