"""Find where a pretrained network can be tapped: its last feature map at each stride.

A U-Net needs feature maps at strides 2, 4, 8, 16 and 32. Layer names typed in for every architecture break with a new
release, so the maps are found by running the layer graph symbolically (shapes only, no numbers) and reading strides.
"""

from __future__ import annotations

import keras

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.resolutions import STRIDES

# Divisible by all strides, and large enough that a 1 × 1 map of a squeeze-and-excite branch is no stride-32 map.
_PROBE = 256


def pyramid(model: keras.Model) -> keras.Model:
    """A model with five outputs, the feature maps at strides 2, 4, 8, 16 and 32.

    Of all feature maps at a stride, the last one before the network goes to a coarser stride is taken: it has seen the
    most layers at that resolution. A model whose outputs are five maps at these strides keeps them: as a list in this
    order it is returned unchanged, any other order or structure (feature pyramids give a dict) becomes such a list.

    Parameters
    ----------
    model : keras.Model
        A functional model from one image batch ``(None, None, None, 3)`` to anything.

    Returns
    -------
    keras.Model
        From the same input to five outputs ``(N, H / s, W / s, C_s)`` for s in `STRIDES`; weights are shared.

    Raises
    ------
    InvalidInputError
        If the model is not functional, takes no image of any size, or lacks a stride, which is named.

    Examples
    --------
    >>> import keras
    >>> image = keras.Input((None, None, 3))
    >>> x = image
    >>> for filters in (4, 8, 16, 32, 64):
    ...     x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
    >>> [tap.shape[-1] for tap in pyramid(keras.Model(image, x)).outputs]
    [4, 8, 16, 32, 64]
    """
    _check_input(model)
    shapes = _output_shapes(model, model.outputs)
    own = {_stride(shape): tensor for tensor, shape in zip(model.outputs, shapes, strict=True)}
    if len(model.outputs) == len(STRIDES) and own.keys() == set(STRIDES):
        chosen = [own[stride] for stride in STRIDES]
        is_such_a_list = isinstance(model.output, list) and list(map(id, model.output)) == list(map(id, chosen))
        return model if is_such_a_list else keras.Model(model.inputs[0], chosen, name=model.name)
    tensors = _feature_maps(model)
    last_at = {_stride(shape): tensor for tensor, shape in zip(tensors, _output_shapes(model, tensors), strict=True)}
    missing = [stride for stride in STRIDES if stride not in last_at]
    if missing:
        found = sorted(stride for stride in last_at if stride)
        raise InvalidInputError(
            f"an encoder needs feature maps at strides {', '.join(map(str, STRIDES))}, but {model.name!r} has none at "
            f"stride {', '.join(map(str, missing))} (found {found}); pad its strided layers with 'same', pass a flat "
            "functional model instead of a nested one, or give it these five outputs yourself"
        )
    return keras.Model(model.inputs[0], [last_at[stride] for stride in STRIDES], name=model.name)


def _check_input(model: keras.Model) -> None:
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise InvalidInputError(
            f"an encoder must be a functional keras.Model, got {type(model).__name__}; "
            "build it with keras.Model(inputs, outputs)"
        )
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if shapes != [(None, None, None, 3)]:
        raise InvalidInputError(
            f"an encoder must take one image batch of shape (None, None, None, 3), {model.name!r} takes {shapes}; "
            "build it with input_shape=(None, None, 3) and without its classification top"
        )


def _feature_maps(model: keras.Model) -> list[keras.KerasTensor]:
    """Every (N, H, W, C) tensor of the graph that is all of what a step makes, in the order of computation.

    They are read from the places of layers in the graph: a nested model has another output of its own, and a layer that
    is used at several places has several.
    """
    order = {id(operation): number for number, operation in enumerate(model.operations)}
    maps = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in sorted(model._nodes_by_depth[depth], key=lambda node: order[id(node.operation)]):
            if len(node.output_tensors) == 1 and len(node.output_tensors[0].shape) == 4:
                maps.append(node.output_tensors[0])
    return maps


def _output_shapes(model: keras.Model, tensors: list[keras.KerasTensor]) -> list[tuple[int, ...]]:
    probe = keras.KerasTensor((1, _PROBE, _PROBE, 3))
    outputs = keras.Model(model.inputs, list(tensors)).compute_output_spec(probe)
    return [tuple(output.shape) for output in (outputs if isinstance(outputs, list) else [outputs])]


def _stride(shape: tuple[int, ...]) -> int | None:
    """How many input pixels one pixel of the map stands for; None if no whole number, the same both ways."""
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] is None or _PROBE % shape[1]:
        return None
    return _PROBE // shape[1]
