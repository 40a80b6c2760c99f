"""Make the picture of the plugin for napari, docs/images/napari.jpg, where there is a display.

``pip install -e ".[onnx,napari-test]"``, then ``xvfb-run -s "-screen 0 1600x1000x24" python docs/napari_picture.py``.
"""

from __future__ import annotations

import time
from pathlib import Path

import napari
import skimage.data
from PIL import Image
from qtpy.QtWidgets import QApplication

from nucleiseg.napari import NucleiDock

PICTURE = Path(__file__).parent / "images" / "napari.jpg"
MOST_SECONDS = 300


def main() -> None:
    """Open a viewer, find the nuclei of a real image in it, and take a picture of it all."""
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1280, 820)
    viewer.add_image(skimage.data.immunohistochemistry(), name="tissue")
    dock = NucleiDock(viewer)
    widget = viewer.window.add_dock_widget(dock, name="Nuclei", area="right")
    widget.setMinimumWidth(400)
    dock.find()
    began = time.monotonic()
    while dock.work is not None and time.monotonic() - began < MOST_SECONDS:
        QApplication.processEvents()
        time.sleep(0.02)
    dock.form.folder.line_edit.value = "corrected"  # set as a value, it would become a path of this machine
    viewer.window._qt_viewer.dockLayerControls.setVisible(True)
    viewer.camera.zoom, viewer.camera.center = 3, (180, 200)
    until = time.monotonic() + 2
    while time.monotonic() < until:
        QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=False, flash=False)
    Image.fromarray(picture[..., :3]).save(PICTURE, quality=88)
    viewer.close()


if __name__ == "__main__":
    main()
