"""What a circuit looks like as a graph: how dense, how deep, how much goes through few parts."""

from __future__ import annotations

import networkx as nx
import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._faithful import grow
from bregma.mechanism.circuits._graph import Graph, Kept

ANSWER = "answer"


def strongest_edges(graph: Graph, scores: Float[np.ndarray, "sender receiver"], size: int) -> Kept:
    """A circuit of a fixed size: from the answer on, always the edge with the largest score.

    Circuits that are to be compared by their metrics must be of one size, or the metrics say how
    many edges each was allowed.

    Parameters
    ----------
    graph : Graph
        All edges that there are.
    scores : array (sender, receiver)
        What `graph.attribute` gives; absolute values count.
    size : int
        How many edges, fewer where the graph has no more.

    Returns
    -------
    bool array (sender, receiver)
        Edges that all lead to the answer.

    Raises
    ------
    InvalidArgument
        No edges, or scores that are not finite or not of the graph.
    """
    if size < 1 or scores.shape != graph.joined.shape or not np.isfinite(scores).all():
        raise InvalidArgument(
            f"size must be 1 or more, not {size}, and scores finite and of the shape "
            f"{graph.joined.shape}, not {scores.shape}"
        )
    return grow(graph, np.abs(scores), size)


def graph_metrics(graph: Graph, kept: Kept) -> dict[str, float]:
    """Numbers that describe a circuit as a graph of parts.

    Parts are senders and the answer; a part sends to another one if it has an edge to any of its
    inputs. Directions count for ``"pagerank"`` and ``"depth"``, and are left out elsewhere.

    Parameters
    ----------
    graph : Graph
        What the circuit is part of.
    kept : bool array (sender, receiver)
        Its edges.

    Returns
    -------
    dict of str to float
        ``"nodes"``, ``"links"`` between them; ``"density"``, links as a share of those that a graph
        without loops can have; ``"degree"``, the largest number of links of a node as a share of
        all other nodes; ``"pagerank"`` and ``"eigenvector"``, the largest centralities;
        ``"core"``, the largest k for which there is a part in which each node has k links;
        ``"clustering"``, mean share of neighbours that are neighbours; ``"efficiency"``, mean
        inverse distance; ``"modularity"`` of the best communities that merging finds; ``"depth"``,
        links on the longest path.

    Raises
    ------
    InvalidArgument
        No edges, or an array that is not of the graph.

    References
    ----------
    Yao et al. (2026), How do large language models learn concepts during continual pre-training?
    Newman (2018), Networks.
    """
    if kept.shape != graph.joined.shape or (kept & ~graph.joined).any() or not kept.any():
        raise InvalidArgument(
            f"a circuit has the shape {graph.joined.shape} and edges of its graph, at least one; "
            f"this one has the shape {kept.shape} and {int(kept.sum())} edges"
        )
    directed = nx.DiGraph(
        (sender, graph.part_of(receiver) or ANSWER) for sender, receiver in graph.named(kept)
    )
    directed.remove_edges_from(list(nx.selfloop_edges(directed)))
    links = directed.to_undirected()
    n, n_links = len(links), links.number_of_edges()
    if not n_links:
        raise InvalidArgument("the only edges lead from a part to itself: that is no graph")
    _, axes = np.linalg.eigh(nx.to_numpy_array(links))
    communities = nx.community.greedy_modularity_communities(links)
    return {
        "nodes": float(n),
        "links": float(n_links),
        "density": 2 * n_links / (n * (n - 1)),
        "degree": max(degree for _, degree in links.degree) / (n - 1),
        "pagerank": max(nx.pagerank(directed).values()),
        "eigenvector": float(np.abs(axes[:, -1]).max()),
        "core": float(max(nx.core_number(links).values())),
        "clustering": float(nx.average_clustering(links)),
        "efficiency": float(nx.global_efficiency(links)),
        "modularity": float(nx.community.modularity(links, communities)),
        "depth": float(_depth(directed)),
    }


def _depth(directed: nx.DiGraph) -> int:
    """Where parts send to each other in loops, a loop is one part."""
    return int(nx.dag_longest_path_length(nx.condensation(directed)))
