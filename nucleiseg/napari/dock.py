"""The dock: a form, a thread that does what it says, and layers for what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._optional import import_extra
from nucleiseg.datasets.writing import write_pair
from nucleiseg.errors import InvalidInputError, NucleisegError
from nucleiseg.napari.finding import Findings, checksums, edited, find_nuclei, measure_planes, merge
from nucleiseg.napari.form import Form
from nucleiseg.napari.models import ModelShelf, model_file
from nucleiseg.napari.stacks import Place, Stack, stack_of
from nucleiseg.napari.work import Stopped, Work

__all__ = ["NucleiDock"]

_PURPOSE = "the dock for napari"
_TAG = "nucleiseg"  # under which a labels layer notes its image, in its metadata
_EVERY = 100  # ms between two looks at how far the work is
_log = logging.getLogger(__name__)


class NucleiDock:
    """Find nuclei in an image layer of napari, correct them, measure them, and save them to train on.

    In napari it is made by the menu *Plugins → Nuclei → Find nuclei*.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose layers are looked at.

    Raises
    ------
    MissingPackageError
        If napari is not installed.

    Examples
    --------
    >>> import napari  # doctest: +SKIP
    >>> viewer = napari.Viewer()  # doctest: +SKIP
    >>> dock = NucleiDock(viewer)  # doctest: +SKIP
    >>> viewer.window.add_dock_widget(dock, name="Nuclei")  # doctest: +SKIP
    """

    def __init__(self, napari_viewer: Any) -> None:
        core = import_extra("qtpy.QtCore", "napari", _PURPOSE)
        self.viewer = napari_viewer
        self.form = Form()
        self.work: Work | None = None
        self._shelf = ModelShelf()
        self._closed = False
        self._timer = core.QTimer(self.native)
        self._timer.setInterval(_EVERY)
        self._timer.timeout.connect(self._show_progress)
        for button, action in (
            (self.form.find, self.find),
            (self.form.cancel, self.cancel),
            (self.form.measure, self.measure),
            (self.form.save, self.save),
        ):
            button.changed.connect(action)
        self.native._nucleiseg_dock = self  # lives as long as what is seen of it
        self.native.destroyed.connect(self._close)

    @property
    def native(self) -> Any:
        """The Qt widget."""
        return self.form.native

    def reset_choices(self, *_: object) -> None:
        """Look which layers there are; napari calls it when they change."""
        self.form.reset_choices()

    # ---- What the buttons do. ----

    def find(self) -> None:
        """Look for nuclei in the chosen image, in a thread of its own."""
        try:
            image = self._image()
            stack = stack_of(image)
            places = self._places(image, stack)
            options = self.form.options(stack.pixel_size)
            path = model_file(self.form.model.value, self.form.model_file.value)
        except NucleisegError as error:
            self._complain(error)
            return
        facts = _facts(image)

        def run(work: Work) -> Findings:
            return find_nuclei(stack, places, lambda: self._shelf.load(path), options, work)

        self._start(run, lambda findings: self._show_findings(stack, facts, findings))

    def cancel(self) -> None:
        """Stop what is being done, at the next opportunity."""
        if self.work is not None:
            self.work.stop()
            self.form.cancel.enabled = False
            self.form.status.value = "stopping …"

    def measure(self) -> None:
        """Measure the labels anew, as they are now."""
        try:
            labels = self._labels()
            stack, values = self._stack_below(labels), _values(labels)
        except NucleisegError as error:
            self._complain(error)
            return

        def done(features: Any) -> None:
            labels.features = features
            self.form.status.value = f"{len(features)} nuclei measured in {labels.name}"

        self._start(lambda work: measure_planes(stack, values, work), done)

    def save(self) -> None:
        """Save image and labels as a dataset, to train on."""
        try:
            labels = self._labels()
            stack, values = self._stack_below(labels), _values(labels)
            folder = self.form.dataset
            if folder is None:
                raise InvalidInputError("no folder is chosen; choose one for the dataset, which may be a new one")
            places = self._places_to_save(labels, stack, values)
        except NucleisegError as error:
            self._complain(error)
            return

        def run(work: Work) -> int:
            for number, place in enumerate(places):
                work.say(f"saving {number + 1} of {len(places)}", number / len(places))
                write_pair(folder, stack.plane(place), values[place], stack.called(place), stack.pixel_size)
            return len(places)

        self._start(run, lambda count: self._show_saved(count, folder))

    # ---- What they need. ----

    def _image(self) -> Any:
        if self.form.image.value is None:
            raise InvalidInputError("no image is chosen; open one, or drag it into the window")
        return self.form.image.value

    def _labels(self) -> Any:
        if self.form.labels.value is None:
            raise InvalidInputError("there are no labels; press 'Find nuclei', or add a labels layer")
        return self.form.labels.value

    def _stack_below(self, labels: Any) -> Stack:
        """The image that the labels were found in, or the one that is chosen."""
        wanted = labels.metadata.get(_TAG, {}).get("image")
        found = [layer for layer in self.form.image.choices if str(layer.unique_id) == wanted]
        stack = stack_of(found[0] if found else self._image())
        shape = None if isinstance(labels.data, (list, tuple)) or labels.multiscale else tuple(labels.data.shape)
        if shape != stack.shape:
            raise InvalidInputError(
                f"the labels {labels.name!r} must have the shape of the image {stack.name!r}, {stack.shape}, "
                f"got {shape or 'a pyramid'}; choose layers that belong together"
            )
        return stack

    def _places(self, layer: Any, stack: Stack) -> list[Place]:
        """All planes, or the one that is shown."""
        if self.form.wants_all_planes or not stack.grid:
            return list(stack.places())
        point = np.asarray(layer.world_to_data(self.viewer.dims.point))
        return [stack.nearest(point[-len(stack.shape) :].tolist())]

    def _places_to_save(self, labels: Any, stack: Stack, values: npt.NDArray[Any]) -> list[Place]:
        places = self._places(labels, stack)
        if len(places) == 1:
            return places
        looked_at = labels.metadata.get(_TAG, {}).get("checksums", {})
        worked_on = [place for place in places if place in looked_at or values[place].any()]
        if not worked_on:
            raise InvalidInputError(f"{labels.name!r} has no labels; press 'Find nuclei', or draw some")
        return worked_on

    def _start(self, run: Callable[[Work], Any], done: Callable[[Any], None]) -> None:
        """Run in a thread; show the outcome when it is there. One at a time."""
        if self.work is not None:
            return
        threading = import_extra("napari.qt.threading", "napari", _PURPOSE)
        self.work = work = Work("beginning")

        def attempt() -> Any:
            try:
                return run(work)
            except Exception as error:  # shown below, in one line; napari would show a traceback
                return error

        def finish(outcome: Any) -> None:
            if self._closed:
                return
            self._set_working(False)
            self.form.status.value = ""
            if isinstance(outcome, Stopped):
                self.form.status.value = "stopped"
            elif isinstance(outcome, Exception):
                self._complain(outcome)
            else:
                done(outcome)

        self._set_working(True)
        worker = threading.create_worker(attempt, _start_thread=False)
        worker.returned.connect(finish)
        worker.start()

    # ---- What is shown. ----

    def _set_working(self, working: bool) -> None:
        self.work = self.work if working else None
        for button in (self.form.find, self.form.measure, self.form.save):
            button.enabled = not working
        self.form.cancel.enabled = working
        self.form.bar.max, self.form.bar.value = 100, 0
        if working:
            self._timer.start()
        else:
            self._timer.stop()

    def _show_progress(self) -> None:
        work = self.work
        if work is None or work.stopping:
            return
        self.form.status.value = f"{work.text} …"
        self.form.bar.max = 0 if work.share is None else 100  # 0: it moves, and says nothing of how long
        self.form.bar.value = 0 if work.share is None else round(100 * work.share)

    def _show_findings(self, stack: Stack, facts: dict[str, Any], findings: Findings) -> None:
        text = []
        if findings.planes:
            text += self._show_nuclei(stack, facts, findings)
        if findings.stopped:
            text.append("stopped")
        self.form.status.value = " · ".join(text)
        if findings.problem is not None:
            self._complain(findings.problem)

    def _show_nuclei(self, stack: Stack, facts: dict[str, Any], findings: Findings) -> list[str]:
        planes = findings.planes
        places = [found.place for found in planes]
        layer, kept = self._own_layer(stack, facts, places)
        old = (None, None) if layer is None else (layer.data, layer.features)
        labels, features = merge(stack.shape, planes, *old)
        if layer is None:
            layer = self.viewer.add_labels(labels, name=f"{stack.name} nuclei", features=features, **facts["where"])
            layer.contour = 2
            layer.metadata = {_TAG: {"image": facts["id"], "checksums": {}, "kept": False}}
        else:
            layer.data, layer.features = labels, features
        layer.metadata[_TAG]["checksums"].update(checksums(labels, places))
        self.form.labels.value = next(
            one for one in self.form.labels.choices if str(one.unique_id) == str(layer.unique_id)
        )
        count, size = sum(int(found.labels.max()) for found in planes), stack.pixel_size
        flags = sorted({flag for found in planes for flag in found.quality})
        return [
            f"{count} nuclei" + (f" in {len(planes)} planes" if len(planes) > 1 else ""),
            *([] if size is None else [f"pixels of {size:.4g} µm"]),
            *flags,
            *kept,
        ]

    def _own_layer(self, stack: Stack, facts: dict[str, Any], places: Sequence[Place]) -> tuple[Any, list[str]]:
        """The layer of an earlier search in the same image; corrections that would be lost are kept in theirs."""
        for layer in self.form.labels.choices:
            tag = layer.metadata.get(_TAG, {})
            if tag.get("image") != facts["id"] or tag["kept"] or tuple(layer.data.shape) != stack.shape:
                continue
            if not edited(layer.data, tag["checksums"], places):
                return layer, []
            tag["kept"] = True
            layer.name = f"{layer.name} (corrected)"
            return None, [f"your corrections stay in {layer.name!r}"]
        return None, []

    def _show_saved(self, count: int, folder: Path) -> None:
        what = "1 image with its labels" if count == 1 else f"{count} images with their labels"
        self.form.status.value = f"saved {what}; train with: nucleiseg train {folder} -o my_nuclei.keras"

    def _complain(self, error: Exception) -> None:
        """One line for the user; for what is no mistake of theirs, the traceback goes to the log."""
        notifications = import_extra("napari.utils.notifications", "napari", _PURPOSE)
        text = " ".join(str(error).split())
        if not isinstance(error, NucleisegError):
            _log.error("%s", text, exc_info=error)
            text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        notifications.show_error(text)

    def _close(self) -> None:
        self._closed = True
        if self.work is not None:
            self.work.stop()


def _facts(layer: Any) -> dict[str, Any]:
    """What labels need to know of their image, which may be gone when they are found: who, and where in the world."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units")
    where = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    return {"id": str(layer.unique_id), "where": where}


def _values(layer: Any) -> npt.NDArray[Any]:
    """A copy: the labels may be drawn on while they are measured or saved."""
    return np.array(layer.data)
