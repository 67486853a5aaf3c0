"""A function of tensors, traced whole and compiled; nothing of it is looked at again when it is called.

A pack's step is called many thousand times with tensors of the same shapes, so there is nothing to guard:
it is traced once to a graph of operators, through vmap and the gradient, and the graph goes to the
compiler. Its on-disk cache is shared by all workers of a machine.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

Flat = Callable[..., list[Tensor]]
"""A function from tensors to tensors."""

_SMALL_PRODUCT = 10_000
"""Multiplications of a product of matrices up to which it is summed without the library; measured."""

_REGISTER = 16
"""Numbers in one register of a CPU, in float32."""


class Flattened:
    """A function of pytrees as a function of their tensors.

    Args:
        function: From pytrees to a pytree.
        arguments: An example of what it is called with; what is not a tensor in it stays as it is here.

    Attributes:
        call: The function of the tensors.
        captured: Whether what :attr:`call` returns is overwritten by its next call.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self._function = function
        leaves, self._spec = tree_flatten(tuple(arguments))
        self._static = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        self._out: Any = None
        self.captured = False
        self._holds_constants: Flat | None = None
        self.call: Flat = self._eager

    @staticmethod
    def leaves(tree: Any) -> list[Tensor]:
        """The tensors of a pytree, in order."""
        return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]

    @staticmethod
    def rebuild(like: Any, tensors: Sequence[Tensor]) -> Any:
        """A pytree with the structure of another and these tensors in their order."""
        leaves, spec = tree_flatten(like)
        given = iter(tensors)
        return tree_unflatten([next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves], spec)

    def restore(self, tensors: Sequence[Tensor]) -> Any:
        """The pytree that the function gave, from what :attr:`call` gave; after a first call."""
        return tree_unflatten(list(tensors), self._out)

    def _eager(self, *tensors: Tensor) -> list[Tensor]:
        given = iter(tensors)
        leaves = [
            next(given) if is_tensor else static
            for is_tensor, static in zip(self._is_tensor, self._static, strict=True)
        ]
        found, self._out = tree_flatten(self._function(*tree_unflatten(leaves, self._spec)))
        return found

    def trace(self, tensors: Sequence[Tensor]) -> GraphModule:
        """The function as a graph of operators, for tensors of these shapes."""
        from torch.fx.experimental.proxy_tensor import make_fx

        graph = make_fx(self._eager)(*tensors)
        if not tensors[0].is_cuda:
            _shape_products(graph)
        return graph

    def compile(self, graph: GraphModule, tensors: Sequence[Tensor], *, num_moved: int = 0) -> None:
        """Has :attr:`call` run the compiled graph from now on.

        Args:
            graph: As traced.
            tensors: Examples of its inputs.
            num_moved: So many first outputs may be written over as many inputs before the last one, where the
                caller wants the memory rather than the old values; 0: inputs stay as they are.
        """
        call = _compiled_writing(graph, tensors, num_moved) if num_moved else None
        if call is None:
            self.call = _compiled(graph, tensors)
            return
        if tensors[0].is_cuda:
            self.captured = True
            self._holds_constants = call  # a graph reads them where they lie, and does not hold them
            self.call = _capture(call, tensors, num_moved)
            return
        moved = slice(-1 - num_moved, -1)
        self.call = lambda *inputs: [*inputs[moved], *call(*inputs)]


def _compiled(graph: GraphModule, tensors: Sequence[Tensor]) -> Flat:
    """What the compiler makes of a graph, for inputs like these."""
    from torch._guards import TracingContext, tracing
    from torch._inductor import compile as compile_graph
    from torch._inductor import config
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    shapes = FakeTensorMode(shape_env=ShapeEnv())  # without them the on-disk cache is passed by
    # that a compiler knows the processor's vectors is not tried out, a second in every process
    known = config.patch({"cpp.vec_isa_ok": True})
    with warnings.catch_warnings(), tracing(TracingContext(shapes)), known:
        warnings.simplefilter("ignore")  # the compiler's own, about versions and devices
        call: Flat = compile_graph(graph, list(tensors))
    return call


def _compiled_writing(graph: GraphModule, tensors: Sequence[Tensor], num_moved: int) -> Flat | None:
    """What the compiler makes of a graph that writes its first outputs over inputs; None if it cannot.

    On a CPU torch 2.13 asks all that depends on a value of a fused loop where it reads it. Writes over what
    the value was made of depend on it, since they are to come later, but do not read it: that is a KeyError
    (the look-up of pytorch's issues 188228 and 196570). Without writes there are none.
    """
    from torch._inductor.exc import InductorError

    try:
        return _compiled(_writing_over_inputs(graph, num_moved), tensors)
    except InductorError as error:
        if tensors[0].is_cuda or not isinstance(error.inner_exception, KeyError):
            raise
        return None


def _capture(call: Flat, tensors: Sequence[Tensor], num_moved: int) -> Flat:
    """A call that writes over its inputs as one launch: a CUDA graph on tensors of its own.

    What it returns is overwritten by the next call; what is given is copied in, unless it came from here.
    """
    own = [tensor.clone() for tensor in tensors]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(own[0].device):  # of several it need not be the current one, which would capture
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # before a capture everything that is made once has to be made
                call(*own)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):
            out = call(*own)

    fixed = len(own) - 1 - num_moved
    held: list[Tensor | None] = [None] * fixed

    def replay(*inputs: Tensor) -> list[Tensor]:
        for place, (mine, given) in enumerate(zip(own, inputs, strict=True)):
            if mine is given or (place < fixed and held[place] is given):
                continue
            mine.copy_(given)
            if place < fixed:
                held[place] = given
        graph.replay()
        return [*own[-1 - num_moved : -1], *out]

    return replay


def _writing_over_inputs(graph: GraphModule, num_moved: int) -> GraphModule:
    """A copy whose first outputs become writes to inputs, and leave the outputs."""
    graph = GraphModule(graph, copy.deepcopy(graph.graph))
    aten, nodes = torch.ops.aten, graph.graph
    inputs = nodes.find_nodes(op="placeholder")[-1 - num_moved : -1]
    (output,) = nodes.find_nodes(op="output")
    moved, rest = output.args[0][:num_moved], output.args[0][num_moved:]
    with nodes.inserting_before(output):
        # all values are taken before the first is written: one may be another's old value
        pairs = [
            (old, nodes.call_function(aten.clone.default, (new,)))
            for old, new in zip(inputs, moved, strict=True)
            if new is not old
        ]
        rest = [nodes.call_function(aten.clone.default, (value,)) for value in rest]
        for old, new in pairs:
            nodes.call_function(aten.copy_.default, (old, new))
    output.args = (list(rest),)
    graph.recompile()
    return graph


def _shape_products(graph: GraphModule) -> None:
    """Products of matrices in the form that a CPU does fastest.

    A small product is a sum of products, compiled together with what is around it: a library's costs more to
    call, and to come back from, than it takes. A tall product of few columns is taken transposed: the library
    is, measured, up to four times as fast with the long side last, unless the columns fill its registers.
    Its numbers then lie in another order, and what was traced as a view of them may have to be a copy.
    """
    aten, nodes = torch.ops.aten, graph.graph
    for node in nodes.find_nodes(op="call_function", target=aten.bmm.default):
        left, right = node.args
        rows, inner = left.meta["val"].shape[1:]
        columns = right.meta["val"].shape[2]
        with nodes.inserting_before(node):
            if min(rows, inner, columns) == 1 or rows * inner * columns <= _SMALL_PRODUCT:
                wide = nodes.call_function(aten.unsqueeze.default, (left, 3))
                tall = nodes.call_function(aten.unsqueeze.default, (right, 1))
                product = nodes.call_function(aten.mul.Tensor, (wide, tall))
                shaped = nodes.call_function(aten.sum.dim_IntList, (product, [2]))
            elif rows > columns and columns % _REGISTER:
                turned = [nodes.call_function(aten.transpose.int, (side, 1, 2)) for side in (right, left)]
                product = nodes.call_function(aten.bmm.default, tuple(turned))
                shaped = nodes.call_function(aten.transpose.int, (product, 1, 2))
            else:
                continue
        node.replace_all_uses_with(shaped)
        nodes.erase_node(node)
    for view in (aten.view.default, aten._unsafe_view.default):  # noqa: SLF001 - an operator of torch's
        for node in nodes.find_nodes(op="call_function", target=view):
            node.target = aten.reshape.default
    graph.recompile()


@cache
def missing_compiler(device: str) -> str:
    """Why nothing can be compiled for a device; "" if it can."""
    if torch.device(device).type == "cuda":
        try:
            import triton  # type: ignore[import-not-found]  # noqa: F401 - only where there is a GPU
        except ImportError as error:
            return f"no compiler for the GPU: {error}"
        return ""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        return f"no C++ compiler: {str(error).splitlines()[0]}"
    return ""


def bytes_made(graph: GraphModule) -> int:
    """Bytes of all tensors that a graph makes: how much it does, the same on every machine."""
    total = 0

    def add(value: object) -> None:
        nonlocal total
        if isinstance(value, Tensor):
            total += value.numel() * value.element_size()

    for node in graph.graph.nodes:
        if node.op == "call_function":
            tree_map(add, node.meta.get("val", node.meta.get("tensor_meta")))
    return total
