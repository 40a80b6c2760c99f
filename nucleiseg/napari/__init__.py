"""A plugin for napari: find nuclei in an image layer, correct them, measure them, and save them to train on.

Everything but `NucleiDock` works without napari; napari itself is imported when a dock is made.
"""

from nucleiseg.napari.dock import NucleiDock

__all__ = ["NucleiDock"]
