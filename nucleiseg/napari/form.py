"""The form of the dock: its fields and buttons, and the options that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nucleiseg._optional import import_extra
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.inference.options import PredictOptions
from nucleiseg.napari.models import FROM_FILE, ModelShelf

__all__ = ["ALL_PLANES", "THIS_PLANE", "Form"]

THIS_PLANE, ALL_PLANES = "this one", "all"
_PURPOSE = "the dock for napari"


class Form:
    """Widgets of magicgui, and what they say.

    ``native`` is the Qt widget. The fields can be set from code: ``form.threshold.value = 0.6``. Those that have
    ``own`` go by what the model says, or by the image, while that is checked.
    """

    def __init__(self) -> None:
        widgets = import_extra("magicgui.widgets", "napari", _PURPOSE)
        layers = import_extra("napari.layers", "napari", _PURPOSE)
        self.image = widgets.create_widget(annotation=layers.Image, label="Image")
        self.planes = widgets.ComboBox(label="Planes", choices=[THIS_PLANE, ALL_PLANES], value=THIS_PLANE)
        self.model = widgets.ComboBox(label="Model", choices=ModelShelf.choices())
        self.model_file = widgets.FileEdit(
            label="File", mode="r", filter="Models (*.keras *.onnx *.zip)", nullable=True, value=None
        )
        own, number = "the model's own", _OwnNumber
        self.threshold = number(widgets.FloatSlider(value=0.5, min=0, max=1, step=0.01), "Threshold", own)
        self.min_area = number(widgets.SpinBox(value=30, min=0, max=10**6), "Least area (px)", own)
        self.more = widgets.CheckBox(text="more options", value=False)
        self.diameter = number(widgets.SpinBox(value=20, min=1, max=10**4), "Diameter (px)", "found out")
        self.min_confidence = number(widgets.FloatSlider(value=0.5, min=0, max=1, step=0.01), "Least confidence", own)
        self.remove_edge = widgets.CheckBox(text="leave out nuclei at the edge", value=False)
        self.fill_holes = widgets.CheckBox(text="fill holes in nuclei", value=False)
        self.tta = widgets.CheckBox(text="average over flips and turns (8 × slower)", value=False)
        self.memory = widgets.FloatSpinBox(label="Memory (GB)", value=2, min=0.2, max=10**4, step=0.5)
        self.find = widgets.PushButton(text="Find nuclei")
        self.cancel = widgets.PushButton(text="Cancel", enabled=False)
        self.bar = widgets.ProgressBar(min=0, max=100, value=0)
        self.status = widgets.Label(value="")

        self.labels = widgets.create_widget(annotation=layers.Labels, label="Labels")
        self.measure = widgets.PushButton(text="Measure again")
        self.folder = widgets.FileEdit(label="Dataset", mode="d", nullable=True, value=None)
        self.save = widgets.PushButton(text="Save corrected labels")

        buttons = widgets.Container(widgets=[self.find, self.cancel], layout="horizontal", labels=False)
        self._further = [
            self.diameter.row,
            self.min_confidence.row,
            self.remove_edge,
            self.fill_holes,
            self.tta,
            self.memory,
        ]
        self._all = widgets.Container(
            widgets=[
                *(self.image, self.planes, self.model, self.model_file, self.threshold.row, self.min_area.row),
                *(self.more, *self._further, buttons, self.bar, self.status),
                *(self.labels, self.measure, self.folder, self.save),
            ],
        )
        for row in (buttons, self._all):
            row.margins = (0, 0, 0, 0)
        self._all.margins = (8, 8, 8, 8)
        self.status.native.setWordWrap(True)
        self.more.changed.connect(self.show_fields)
        self.model.changed.connect(self.show_fields)
        self.image.changed.connect(self.show_fields)
        self.show_fields()

    @property
    def native(self) -> Any:
        """The Qt widget."""
        return self._all.native

    def reset_choices(self, *_: object) -> None:
        """Look which layers there are."""
        self._all.reset_choices()
        self.show_fields()

    def show_fields(self) -> None:
        """Show what can be chosen now, and hide the rest."""
        image = self.image.value
        self.planes.visible = image is not None and image.ndim > 2
        self.model_file.visible = self.model.value == FROM_FILE
        for row in self._further:
            row.visible = self.more.value

    @property
    def wants_all_planes(self) -> bool:
        """Whether every plane of a stack is meant, not the shown one only."""
        return bool(self.planes.value == ALL_PLANES)

    @property
    def dataset(self) -> Path | None:
        """The folder for corrected labels, if one was chosen."""
        chosen = self.folder.value
        return None if chosen is None or str(chosen) in ("", ".") else Path(chosen)

    def options(self, pixel_size: float | None = None) -> PredictOptions:
        """What the fields say; those that are hidden are as they were."""
        return PredictOptions(
            threshold=self.threshold.value,
            min_area=self.min_area.value,
            diameter=self.diameter.value,
            min_confidence=self.min_confidence.value,
            remove_edge=self.remove_edge.value,
            fill_holes=self.fill_holes.value,
            tta=self.tta.value,
            max_memory=round(self.memory.value * 10**9),
            reading=ReadOptions(pixel_size=pixel_size),
        )


class _OwnNumber:
    """A number, unless a box beside it is checked: then None."""

    def __init__(self, number: Any, label: str, own: str) -> None:
        widgets = import_extra("magicgui.widgets", "napari", _PURPOSE)
        self.number = number
        self.own = widgets.CheckBox(text=own, value=True)
        self.row = widgets.Container(widgets=[self.own, number], layout="horizontal", labels=False, label=label)
        self.row.margins = (0, 0, 0, 0)
        self.own.changed.connect(self._show)
        self._show()

    @property
    def value(self) -> Any:
        """The number, or None."""
        return None if self.own.value else self.number.value

    @value.setter
    def value(self, value: Any) -> None:
        if value is not None:
            self.number.value = value
        self.own.value = value is None

    def _show(self) -> None:
        self.number.enabled = not self.own.value
