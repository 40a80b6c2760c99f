"""Operators of TensorFlow for which tf2onnx has no rule, by those that ONNX has: GELU needs one, CELU another."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["add_operators"]

_ONNX = ""  # the domain of its own operators


def add_operators() -> None:
    """Add a rule for each to tf2onnx, for this process, unless it has one.

    Needs tf2onnx.
    """
    from tf2onnx.handler import tf_op

    import_module("tf2onnx.onnx_opset")  # adds its own rules
    rules: dict[str, tuple[int, Callable[..., None]]] = {"Erfc": (9, _erfc), "Expm1": (6, _expm1)}
    known = set().union(*tf_op.get_opsets()[_ONNX])
    for name, (version, rule) in rules.items():
        if name not in known:
            tf_op.register_handler(rule, version, [name], _ONNX, {})


def _erfc(graph: Any, node: Any, **_: Any) -> None:
    """1 - erf(x)."""
    node.type = "Erf"
    made = node.output[0]
    graph.insert_new_node_on_output("Sub", made, inputs=[_one(graph, node), made], name=f"{node.name}_rest")


def _expm1(graph: Any, node: Any, **_: Any) -> None:
    """e^x - 1."""
    node.type = "Exp"
    made = node.output[0]
    graph.insert_new_node_on_output("Sub", made, inputs=[made, _one(graph, node)], name=f"{node.name}_less")


def _one(graph: Any, node: Any) -> str:
    from tf2onnx.utils import map_onnx_to_numpy_type

    kind = map_onnx_to_numpy_type(graph.get_dtype(node.output[0]))
    name: str = graph.make_const(f"{node.name}_one", np.array(1, kind)).output[0]
    return name
