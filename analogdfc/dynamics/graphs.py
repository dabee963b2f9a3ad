"""Repeated work on a GPU, captured once in a graph and replayed without Python."""

from __future__ import annotations

from collections.abc import Callable

import torch


def repeat(work: Callable[[], None], times: int, device: torch.device) -> None:
    """Do the same work several times; on a GPU by replaying a graph of it.

    Args:
        work: kernels on tensors whose addresses never change, without a decision that depends on
            their values; what it does lies in the tensors only.
        times: how often, >= 0.
        device: where the tensors live.
    """
    if device.type != "cuda" or times < 3:
        for _ in range(times):
            work()
        return
    # The first pass counts too: it runs on the side, where libraries make their workspaces, which
    # must not happen inside the capture. Capturing itself does no work.
    current = torch.cuda.current_stream(device)
    side = torch.cuda.Stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        work()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    for _ in range(times - 1):
        graph.replay()
