"""A model's graph: traced by torch.fx, and watched while it runs on torch's `meta` device.

Nothing here holds weights or computes values: the meta device knows shapes and types alone, which is
enough to count work and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from runtime.errors import UncuttableModelError


def trace(model: torch.nn.Module) -> fx.GraphModule:
    """The graph of a model of one input. Raises UncuttableModelError."""
    try:
        graph_module = fx.GraphModule(model, _Tracer().trace(model))
    except Exception as error:
        # Whatever a forward does that cannot be traced surfaces here, in its own kind of exception.
        raise UncuttableModelError(f"the model cannot be traced by torch.fx: {error}") from error
    inputs = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise UncuttableModelError(f"the model takes {len(inputs)} inputs; only one tensor can cross a cut")
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()
    return graph_module


def set_constants_aside(graph_module: fx.GraphModule, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Tensors that a model carries as plain attributes: in no weights file, so they stay with the layout."""
    registered = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    constants: dict[str, torch.Tensor] = {}
    for node in graph_module.graph.nodes:
        target = str(node.target)
        if node.op != "get_attr" or target in registered or target in constants:
            continue
        path, _, leaf = target.rpartition(".")
        owner = graph_module.get_submodule(path)
        value = getattr(owner, leaf)
        if value.is_meta:
            raise UncuttableModelError(
                f"the model computes with a tensor ({target}) that is no parameter and no buffer; register it"
            )
        constants[target] = value
        delattr(owner, leaf)
        owner.register_buffer(leaf, value.to("meta"), persistent=False)
    return constants


class Observation(fx.Interpreter):
    """Runs a graph on the meta device and keeps every node's value, work and scratch memory."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}
        self.flops: dict[fx.Node, int] = {}
        self.scratch_bytes: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        with _Counter() as counter:
            value = super().run_node(n)
        self.values[n] = value
        self.flops[n] = counter.flops
        kept = sum(size_of(leaf) for leaf in tree_leaves(value))
        self.scratch_bytes[n] = max(0, counter.allocated_bytes - kept)
        return value


def observe(graph_module: fx.GraphModule, example: torch.Tensor) -> Observation:
    """Watch the graph run on an example on the meta device. Raises UncuttableModelError."""
    observation = Observation(graph_module)
    try:
        with torch.no_grad():
            observation.run(example)
    except Exception as error:
        # An input of a shape the model cannot take surfaces as an assertion, a RuntimeError, …
        shape = "x".join(str(size) for size in example.shape[1:])
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UncuttableModelError(f"the model cannot run on an input of {shape}: {reason}") from error
    return observation


def size_of(value: Any) -> int:
    """Bytes of a tensor; 0 for anything else."""
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


def peak_bytes(nodes: Sequence[fx.Node], seen: Observation, first: int, last: int) -> int:
    """The most memory alive at once while nodes `(first, last]` run, parameters apart."""
    order = {node: position for position, node in enumerate(nodes)}
    storages: dict[int, tuple[int, int, int]] = {}  # storage → bytes, born, last used
    for position in range(last + 1):
        node = nodes[position]
        if node.op == "get_attr":
            continue
        last_use = max((order[user] for user in node.users), default=position)
        if position <= first and last_use <= first:
            continue
        for leaf in tree_leaves(seen.values[node]):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                size, born, used = storages.get(storage._cdata, (storage.nbytes(), position, position))
                storages[storage._cdata] = (size, min(born, position), max(used, last_use))
    return max(
        sum(size for size, born, used in storages.values() if born <= position <= used)
        + seen.scratch_bytes[nodes[position]]
        for position in range(first + 1, last + 1)
    )


class _Tracer(fx.Tracer):
    """Keeps what is computed from a buffer in the graph, instead of its outcome as a constant."""

    proxy_buffer_attributes = True


class _Counter(TorchDispatchMode):
    """Counts floating-point operations and newly allocated bytes of whatever runs under it."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.allocated_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += int(formula(*args, **(kwargs or {}), out_val=out))
        if not func.is_view and not func._schema.is_mutable:
            self.allocated_bytes += sum(size_of(leaf) for leaf in tree_leaves(out))
        return out
