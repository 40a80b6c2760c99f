"""Takes the package from the checkout, less the models that only Keras can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LEFT_OUT = (".keras", ".pyc")


class CheckoutHook(BuildHookInterface):  # type: ignore[type-arg]
    """Names every file of the wheel; hatchling itself looks into the folder of its pyproject.toml only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Add the files, and fail if a shipped model is missing."""
        checkout = Path(self.root).parents[1]
        package = checkout / "nucleiseg"
        for keras_file in (package / "pretrained").glob("*.keras"):
            if not keras_file.with_suffix(".onnx").is_file():
                raise FileNotFoundError(
                    f"{keras_file.stem}.onnx is missing; run 'nucleiseg export {keras_file.stem} -o "
                    f"{keras_file.with_suffix('.onnx').relative_to(checkout)}' where nucleiseg is installed"
                )
        for path in package.rglob("*"):
            if path.is_file() and path.suffix not in _LEFT_OUT:
                build_data["force_include"][str(path)] = path.relative_to(checkout).as_posix()
