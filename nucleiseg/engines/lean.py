"""A network as it is trained, run with fewer steps over its maps: the same numbers from less time and memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import ops

from nucleiseg.engines.enlarging import for_any_size

__all__ = ["WIDE", "followed_by_norm", "inner_model", "joins_channels", "lean", "steps_of"]

_NARROW = 4  # channels; with sixteen, as many as oneDNN computes at a time, the usual way is quicker
WIDE = 16
"""Channels; fewer are not convolved faster for being in fewer bits."""

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.DepthwiseConv2D)


@dataclass(frozen=True)
class _Joined:
    """Maps side by side that nobody has copied into one."""

    parts: Sequence[Any]


def lean(model: keras.Model, once: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Callable[[Any], Any]:
    """What a model does, as a function of an image batch, for prediction only.

    A normalisation becomes part of the convolution before it, and a convolution of concatenated maps becomes the sum of
    those of its parts, which need not be copied into one. Both happen within the function, so that weights may change
    between calls, unless `once` says otherwise. Whatever is not known here runs as it is.

    Parameters
    ----------
    model : keras.Model
        Functional. It is not changed.
    once : function
        Gives a context in which to compute what hangs on the weights alone: with ``tf.init_scope``, that is done when a
        function is compiled, and weights must not change afterwards.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> maps = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3)(image))
    >>> lean(keras.Model(image, maps))(ops.ones((1, 5, 5, 3))).shape
    TensorShape([1, 3, 3, 2])
    """
    graph = inner_model(model)
    if graph is None:
        return lambda images: model(images, training=False)

    norms = followed_by_norm(graph)
    absorbed = {id(norm) for norm in norms.values()}

    def run(batch: Any) -> Any:
        def step(operation: Any) -> Callable[..., Any]:
            # Keras's layers call what they take inputs, by which some networks pass it.
            inner = inner_model(operation)
            if inner is not None:
                nested = lean(inner, once)
                return lambda inputs, **_: nested(_whole(inputs))
            if id(operation) in absorbed:
                return lambda inputs, **_: inputs
            if type(operation) is keras.layers.Concatenate:
                return lambda inputs, **_: _join(operation, [_whole(part) for part in inputs])
            if id(operation) in norms or _can_be_split(operation):
                return lambda inputs, **_: _convolve(operation, norms.get(id(operation)), inputs, once)
            operation = for_any_size(operation)
            fixed = {"training": False} if "training" in inspect.signature(operation.call).parameters else {}
            whole = partial(keras.tree.map_structure, _whole)
            return lambda *args, **kwargs: operation(*whole(args), **{**whole(kwargs), **fixed})

        maps = keras.tree.map_structure(_whole, graph._run_through_graph(batch, step))
        # As the model itself gives the one output of a list.
        return maps[0] if isinstance(maps, (list, tuple)) and len(maps) == 1 else maps

    return run


def inner_model(operation: Any) -> Any:
    """The functional model within a nested or sequential one, or itself; None for a layer, or where it does more."""
    inner = getattr(operation, "_functional", operation)
    functional = getattr(type(inner).call, "__qualname__", "") == "Functional.call"
    # Keras promises neither of these names: a version without them runs the model as it is.
    known = all(hasattr(inner, name) for name in ("_run_through_graph", "_nodes_by_depth"))
    return inner if functional and known else None


def joins_channels(operation: Any, maps: Any) -> bool:
    """Whether a step puts maps side by side along their last axis, and does nothing else."""
    return type(operation) is keras.layers.Concatenate and operation.axis in (-1, len(maps.shape) - 1)


def steps_of(model: keras.Model) -> list[tuple[Any, Any]]:
    """The operations of a functional model in an order in which they can be run, each with its place in the graph."""
    depths = model._nodes_by_depth
    nodes = [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
    return [(node.operation, node) for node in nodes if node.operation is not None and not node.is_input]


def followed_by_norm(model: keras.Model) -> dict[int, Any]:
    """By the identity of convolutions of a functional model, the normalisation that can become part of each."""
    steps = steps_of(model)
    users: dict[int, list[Any]] = {id(tensor): [None] for tensor in model.outputs}
    for operation, node in steps:
        for tensor in node.input_tensors:
            users.setdefault(id(tensor), []).append(operation)
    places = [id(operation) for operation, _ in steps]
    found = {}
    for operation, node in steps:
        if not _is_plain(operation) or operation.activation is not keras.activations.linear:
            continue
        others = users.get(id(node.output_tensors[0]), [])
        if len(others) == 1 and type(others[0]) is keras.layers.BatchNormalization and _is_known(others[0]):
            norm = others[0]
            if places.count(id(operation)) == places.count(id(norm)) == 1:
                found[id(operation)] = norm
    return found


def _is_known(layer: Any) -> bool:
    """Stored in single precision, computed with numbers of the same range, and with the channels last."""
    return (
        layer.variable_dtype == "float32"
        and layer.compute_dtype in ("float32", "bfloat16")
        and getattr(layer, "axis", -1) in (-1, 3)
    )


def _is_plain(operation: Any) -> bool:
    return (
        type(operation) in _CONVOLUTIONS
        and _is_known(operation)
        and operation.data_format == "channels_last"
        and not getattr(operation, "lora_enabled", False)
        and getattr(operation, "quantization_mode", None) is None
    )


def _can_be_split(operation: Any) -> bool:
    return type(operation) is keras.layers.Conv2D and _is_plain(operation) and operation.groups == 1


def _convolve(layer: Any, norm: Any, images: Any, once: Callable[[], AbstractContextManager[Any]]) -> Any:
    if _is_narrow(layer):
        with once():
            kernel, bias = _with_norm(layer, norm)
            taps, biases = _for_doubling(kernel), None if bias is None else ops.tile(bias, 4)
        return layer.activation(_doubled(ops.cast(_whole(images), layer.compute_dtype), taps, biases))
    parts = images.parts if isinstance(images, _Joined) and _can_be_split(layer) else [_whole(images)]
    with once():
        kernel, total = _with_norm(layer, norm)
        kernels = _shared_out(layer, kernel, parts)
    run = _RUNNERS[type(layer)]
    for part, own in zip(parts, kernels, strict=True):
        maps = ops.cast(run(layer, ops.cast(part, _dtype_for(layer, part)), own), layer.compute_dtype)
        # The bias goes to the first, which lets convolution, bias and sum run as one.
        total = maps if total is None else ops.add(maps, total)
    return layer.activation(total)


def _with_norm(layer: Any, norm: Any) -> tuple[Any, Any]:
    """Kernel and bias of a convolution and the normalisation after it."""
    kernel, bias = ops.convert_to_tensor(layer.kernel), layer.bias
    if norm is not None:
        factor, shift = _factor_and_shift(norm)
        bias = shift if bias is None else ops.add(ops.multiply(bias, factor), shift)
        kernel = ops.multiply(kernel, _beside(layer, factor))
    return ops.cast(kernel, layer.compute_dtype), None if bias is None else ops.cast(bias, layer.compute_dtype)


def _shared_out(layer: Any, kernel: Any, parts: Sequence[Any]) -> list[Any]:
    """What of a kernel each of the concatenated maps is convolved with."""
    kernels, start = [], 0
    for part in parts:
        stop = start + part.shape[-1]
        own = kernel if len(parts) == 1 else kernel[:, :, start:stop]
        kernels.append(ops.cast(own, _dtype_for(layer, part)))
        start = stop
    return kernels


def _dtype_for(layer: Any, part: Any) -> str:
    """What maps are convolved in: what the layer computes in, as Keras does, unless that only makes them larger.

    The last layer computes in single precision, but gets many channels at full resolution in fewer bits. As they are,
    they take half the memory; what comes of them is summed up, and made a probability, in single precision.
    """
    dtype = str(keras.backend.standardize_dtype(part.dtype))
    return dtype if dtype == "bfloat16" and part.shape[-1] >= WIDE else str(layer.compute_dtype)


def _factor_and_shift(norm: Any) -> tuple[Any, Any]:
    """What a normalisation multiplies its channels by, and what it adds then."""
    factor = ops.rsqrt(ops.add(norm.moving_variance, norm.epsilon))
    if norm.scale:
        factor = ops.multiply(factor, norm.gamma)
    shift = ops.negative(ops.multiply(norm.moving_mean, factor))
    return factor, ops.add(shift, norm.beta) if norm.center else shift


def _beside(layer: Any, factor: Any) -> Any:
    """One factor for each output channel, in the shape of the kernel's last axes."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return ops.reshape(factor, layer.kernel.shape[2:])
    return ops.expand_dims(factor, -1) if isinstance(layer, keras.layers.Conv2DTranspose) else factor


def _join(operation: Any, parts: Sequence[Any]) -> Any:
    return _Joined(parts) if joins_channels(operation, parts[0]) else operation(parts)


def _whole(images: Any) -> Any:
    return ops.concatenate(images.parts, axis=-1) if isinstance(images, _Joined) else images


def _is_narrow(layer: Any) -> bool:
    """Whether a layer doubles height and width for a few channels, of which oneDNN computes sixteen at a time."""
    return (
        type(layer) is keras.layers.Conv2DTranspose
        and keras.backend.backend() == "tensorflow"
        and (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (2, 2), "same")
        and layer.output_padding is None
        and layer.filters <= _NARROW
    )


def _for_doubling(kernel: Any) -> Any:
    """The kernel of `_doubled`, from that of a transposed convolution of 3 × 3 with strides of 2.

    It has 2 × 2 taps, of which all four pixels of the result, above and below, left and right, are channels.
    """
    filters, channels = kernel.shape[2:]
    # Of three taps along an axis, the pixels of the result at even places get the last from the pixel before, and the
    # first; those at odd places get the one in the middle.
    taps = ops.reshape(ops.pad(kernel, [[0, 1], [0, 1], [0, 0], [0, 0]]), (2, 2, 2, 2, filters, channels))
    taps = ops.transpose(ops.flip(taps, (0, 2)), (0, 2, 5, 1, 3, 4))
    return ops.reshape(taps, (2, 2, channels, 4 * filters))


def _doubled(images: Any, taps: Any, biases: Any) -> Any:
    """A transposed convolution of 3 × 3 with strides of 2, by one of 2 × 2."""
    import tensorflow as tf

    maps = tf.nn.conv2d(images, taps, 1, [[0, 0], [1, 0], [1, 0], [0, 0]])
    if biases is not None:
        maps = tf.nn.bias_add(maps, biases)
    return tf.nn.depth_to_space(maps, 2)


def _transposed(layer: Any, images: Any, kernel: Any) -> Any:
    return ops.conv_transpose(
        images, kernel, layer.strides, layer.padding, layer.output_padding, layer.data_format, layer.dilation_rate
    )


def _plain(layer: Any, images: Any, kernel: Any) -> Any:
    return ops.conv(images, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate)


def _depthwise(layer: Any, images: Any, kernel: Any) -> Any:
    return ops.depthwise_conv(images, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate)


_RUNNERS: dict[type, Callable[[Any, Any, Any], Any]] = {
    keras.layers.Conv2D: _plain,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.DepthwiseConv2D: _depthwise,
}
