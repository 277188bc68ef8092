"""Where a model can be cut, found from its traced graph.

A *cut point* is a place where exactly one tensor crosses. Numbers taken from a shape count as crossing;
parameters, buffers and what is computed from them alone do not, since every fragment can hold its own.
Of these places we keep the ones worth having (our reconstruction; HiTDL and Neurosurgeon cut likewise):

* a layer does real work: it has a convolution, a linear map or a matrix product. Batch norms,
  activations, poolings and reshapes belong to the layer before, and of the places between two pieces of
  work the one with the smallest tensor is taken, the last of equals;
* a block stays whole. A block is a module whose own `forward` joins several tensors that depend on the
  sample (the addition of a residual block, the concatenation of an inception block), and every other
  module of the same class, so that an inverted residual without its residual is one layer as well. A
  module that has such blocks one after the other is no block itself, only their container.

Nothing here holds weights: the graph lives on torch's `meta` device, shapes are inferred on it with
batches of one and two samples, and a cut whose first dimension is not the batch is refused.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from runtime.errors import UncuttableModelError
from runtime.tracing import observe, peak_bytes, set_constants_aside, size_of, trace

MIB = float(2**20)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A traced model and its cuts.

    `bounds` are L+1 positions in the order of the graph's nodes: layer ℓ is the nodes after
    `bounds[ℓ]`, up to and with `bounds[ℓ+1]`. The tensor that crosses cut k is the value of
    `crossing[k]`. `cut_shapes` and `cut_bytes` are for one sample; `activation_bytes` is the most that is
    alive at once within a layer, for one sample, its input included; `flops` are for one sample. `constants`
    are the tensors that the model carries outside of its parameters and buffers, by their name in the graph.
    """

    graph_module: fx.GraphModule
    nodes: tuple[fx.Node, ...]
    layers: tuple[str, ...]
    bounds: tuple[int, ...]
    crossing: tuple[fx.Node, ...]
    cut_shapes: tuple[tuple[int, ...], ...]
    cut_dtypes: tuple[torch.dtype, ...]
    cut_bytes: tuple[int, ...]
    tensors: tuple[tuple[str, ...], ...]
    activation_bytes: tuple[int, ...]
    flops: tuple[int, ...]
    constants: dict[str, torch.Tensor]


def lay_out(model: torch.nn.Module, example: Callable[[int], torch.Tensor]) -> Layout:
    """Trace a model that lives on the meta device and find its cuts; `example(b)` is a batch of b samples.

    Raises UncuttableModelError when the model cannot be traced, takes or gives more than one tensor, or
    does not keep the batch in the first dimension.
    """
    graph_module = trace(model)
    constants = set_constants_aside(graph_module, model)
    nodes = tuple(graph_module.graph.nodes)
    one, two = observe(graph_module, example(1)), observe(graph_module, example(2))
    work = [position for position, node in enumerate(nodes) if one.flops[node]]
    if not work:
        raise UncuttableModelError("the model has no layer that does work (no convolution, no linear map)")
    dependent = _dependent(nodes)
    candidates = [
        (position, crosser)
        for position, crosser in _single_crossings(nodes, dependent)
        if _is_batched(one.values[crosser], two.values[crosser])
    ]
    inside = _inside_blocks(nodes, dependent, one.values, [position for position, _ in candidates])
    cuts = _worth_having([cut for cut in candidates if cut[0] not in inside], work, one.values)
    source, sink = nodes[0], nodes[-1].args[0]
    if not isinstance(sink, fx.Node) or not _is_batched(one.values[sink], two.values[sink]):
        raise UncuttableModelError("the model must return one tensor whose first dimension is the batch")
    bounds = (0, *(position for position, _ in cuts), len(nodes) - 2)
    crossing = (source, *(crosser for _, crosser in cuts), sink)
    values = [one.values[node] for node in crossing]
    spans = list(itertools.pairwise(bounds))
    return Layout(
        graph_module=graph_module,
        nodes=nodes,
        layers=_names(nodes, work, spans),
        bounds=bounds,
        crossing=crossing,
        cut_shapes=tuple(tuple(value.shape[1:]) for value in values),
        cut_dtypes=tuple(value.dtype for value in values),
        cut_bytes=tuple(value.numel() * value.element_size() for value in values),
        tensors=tuple(
            _tensor_names(graph_module, nodes[first + 1 : last + 1], dependent) for first, last in spans
        ),
        activation_bytes=tuple(peak_bytes(nodes, one, first, last) for first, last in spans),
        constants=constants,
        flops=tuple(sum(one.flops[node] for node in nodes[first + 1 : last + 1]) for first, last in spans),
    )


def extract(layout: Layout, start: int, end: int) -> fx.GraphModule:
    """Layers `[start, end)` as a module of one tensor to one tensor, still on the meta device.

    It holds the parameters and buffers of these layers only, under the names they have in the model.
    """
    graph = fx.Graph()
    source = layout.crossing[start]
    copied: dict[fx.Node, fx.Node] = {source: graph.placeholder("x")}

    def copy_node(node: fx.Node) -> fx.Node:
        # What does not depend on the sample is computed wherever it is needed.
        if node not in copied:
            for argument in node.all_input_nodes:
                copy_node(argument)
            copied[node] = graph.node_copy(node, lambda other: copied[other])
        return copied[node]

    dependent = _dependent(layout.nodes)
    for node in layout.nodes[layout.bounds[start] + 1 : layout.bounds[end] + 1]:
        if node in dependent:
            copy_node(node)
    graph.output(copied[layout.crossing[end]])
    parts: dict[str, Any] = {}
    for node in graph.nodes:
        target = str(node.target)
        if node.op == "call_module" and target not in parts:
            parts[target] = copy.deepcopy(layout.graph_module.get_submodule(target))
        elif node.op == "get_attr" and target not in parts:
            path, _, leaf = target.rpartition(".")
            parts[target] = getattr(layout.graph_module.get_submodule(path), leaf)
    module = fx.GraphModule(parts, graph, class_name="Fragment")
    _spare_the_caller(module, copied[source])
    return module.eval()


def _dependent(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """The nodes whose value depends on the sample, be it only on its shape."""
    dependent: set[fx.Node] = set()
    for node in nodes:
        if node.op == "placeholder" or any(argument in dependent for argument in node.all_input_nodes):
            dependent.add(node)
    return dependent


def _single_crossings(nodes: Sequence[fx.Node], dependent: set[fx.Node]) -> Iterable[tuple[int, fx.Node]]:
    """Every position after which exactly one dependent value is still needed, with that value's node."""
    order = {node: position for position, node in enumerate(nodes)}
    last_use = {node: max((order[user] for user in node.users), default=-1) for node in nodes}
    alive: set[fx.Node] = set()
    for position, node in enumerate(nodes[:-2]):
        alive = {other for other in alive if last_use[other] > position}
        if node in dependent and last_use[node] > position:
            alive.add(node)
        if len(alive) == 1:
            yield position, next(iter(alive))


def _is_batched(one: Any, two: Any) -> bool:
    """Whether a value is a tensor with the batch in its first dimension, and nowhere else."""
    if not isinstance(one, torch.Tensor) or not isinstance(two, torch.Tensor):
        return False
    if one.dim() == 0 or two.dim() != one.dim():
        return False
    return one.shape[0] == 1 and two.shape[0] == 2 and one.shape[1:] == two.shape[1:]


def _owners(node: fx.Node) -> tuple[tuple[str, type[torch.nn.Module]], ...]:
    """The module calls a node stands in, outermost first; a leaf module's own call is left out."""
    stack = tuple((key, kind) for key, (_, kind) in (node.meta.get("nn_module_stack") or {}).items())
    return stack[:-1] if node.op == "call_module" else stack


def _inside_blocks(
    nodes: Sequence[fx.Node], dependent: set[fx.Node], values: dict[fx.Node, Any], candidates: Sequence[int]
) -> set[int]:
    """The candidate positions that would cut a block (see the module's docstring)."""
    spans: dict[str, tuple[int, int]] = {}
    kinds: dict[str, type[torch.nn.Module]] = {}
    joining: set[str] = set()
    for position, node in enumerate(nodes):
        owners = _owners(node)
        for key, kind in owners:
            spans[key] = (spans.get(key, (position, position))[0], position)
            kinds[key] = kind
        tensors = [
            argument
            for argument in node.all_input_nodes
            if argument in dependent and isinstance(values[argument], torch.Tensor)
        ]
        # A value made of a parameter and the batch size alone (the class token of a vision
        # transformer) is no second branch.
        if owners and sum(1 for tensor in tensors if _carries_data(tensor, values)) > 1:
            joining.add(owners[-1][0])

    # Innermost first: a span lies within its parent's.
    by_size = sorted(spans, key=lambda key: spans[key][1] - spans[key][0])
    blocks: list[tuple[int, int]] = []

    def collect(keys: Iterable[str]) -> None:
        for key in keys:
            first, last = spans[key]
            within = [block for block in blocks if first <= block[0] and block[1] <= last]
            chain = any(
                any(block[1] <= cut for block in within) and any(block[0] > cut for block in within)
                for cut in candidates
                if first <= cut < last
            )
            if not chain:
                blocks.append((first, last))

    collect(key for key in by_size if key in joining)
    block_kinds = {kinds[key] for key in joining if spans[key] in blocks}
    collect(key for key in by_size if kinds[key] in block_kinds and spans[key] not in blocks)
    return {cut for cut in candidates for first, last in blocks if first <= cut < last}


def _carries_data(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    """Whether a tensor depends on the sample's numbers, not only on its shape."""
    pending, seen = [node], set()
    while pending:
        current = pending.pop()
        if current.op == "placeholder":
            return True
        for argument in current.all_input_nodes:
            if argument not in seen and not isinstance(values[argument], int | torch.Size):
                seen.add(argument)
                pending.append(argument)
    return False


def _worth_having(
    candidates: Sequence[tuple[int, fx.Node]], work: Sequence[int], values: dict[fx.Node, Any]
) -> list[tuple[int, fx.Node]]:
    """One cut between two pieces of work: the smallest tensor, the last of equals."""
    best: dict[int, tuple[int, fx.Node]] = {}
    for position, crosser in candidates:
        done = sum(1 for place in work if place <= position)
        if not 0 < done < len(work):
            continue
        if done not in best or size_of(values[crosser]) <= size_of(values[best[done][1]]):
            best[done] = (position, crosser)
    return [best[done] for done in sorted(best)]


def _names(
    nodes: Sequence[fx.Node], work: Sequence[int], spans: Sequence[tuple[int, int]]
) -> tuple[str, ...]:
    """For every layer the outermost module all of whose work it does; two such modules as `first…last`."""
    layer_of = {
        place: layer for layer, (first, last) in enumerate(spans) for place in work if first < place <= last
    }
    layers_under: dict[str, set[int]] = {}
    paths: dict[int, list[str]] = {}
    for place in work:
        node = nodes[place]
        stack = [path.split("@")[0] for path in (node.meta.get("nn_module_stack") or {})]
        paths[place] = stack or [node.name]
        for path in paths[place]:
            layers_under.setdefault(path, set()).add(layer_of[place])
    names: list[str] = []
    for layer in range(len(spans)):
        modules = [
            next((path for path in paths[place] if layers_under[path] == {layer}), paths[place][-1])
            for place in work
            if layer_of[place] == layer
        ]
        name = modules[0] if modules[0] == modules[-1] else f"{modules[0]}…{modules[-1]}"
        repeats = sum(1 for other in names if other.split("#")[0] == name)
        names.append(f"{name}#{repeats + 1}" if repeats else name)
    return tuple(names)


def _tensor_names(
    graph_module: fx.GraphModule, nodes: Sequence[fx.Node], dependent: set[fx.Node]
) -> tuple[str, ...]:
    """The names of the parameters and buffers that these nodes use, each once, in order."""
    names: dict[str, None] = {}
    pending = [node for node in nodes if node in dependent]
    seen: set[fx.Node] = set()
    while pending:
        node = pending.pop(0)
        if node in seen:
            continue
        seen.add(node)
        if node.op == "get_attr":
            names[str(node.target)] = None
        elif node.op == "call_module":
            module = graph_module.get_submodule(str(node.target))
            for name, _ in (*module.named_parameters(), *module.named_buffers()):
                names[f"{node.target}.{name}"] = None
        pending.extend(argument for argument in node.all_input_nodes if argument not in dependent)
    return tuple(names)


def _spare_the_caller(module: fx.GraphModule, source: fx.Node) -> None:
    """A module that works in place would overwrite the caller's tensor when it comes first in a fragment."""
    for user in source.users:
        if user.op == "call_module":
            target = module.get_submodule(str(user.target))
            if getattr(target, "inplace", False):
                setattr(target, "inplace", False)  # noqa: B010 - nn.Module types it as a tensor
