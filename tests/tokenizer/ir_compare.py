"""Compare two IR files node by node: operations, attributes, types, shapes and constants."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Node:
    """One layer of an IR."""

    type: str
    version: str
    attributes: dict[str, str]
    content: bytes | None  # of a constant
    ports: list[tuple[str, ...]]
    inputs: dict[int, tuple[str, int]] = field(default_factory=dict)  # port -> layer and port there


@dataclass
class Graph:
    """One IR; `info` holds rt_info entries that have a value."""

    nodes: dict[str, Node]
    info: dict[str, str]

    def ends(self) -> list[str]:
        """Results, then state writers: everything else is reached from them."""
        of_type = lambda kind: [key for key, node in self.nodes.items() if node.type == kind]  # noqa: E731
        return of_type("Result") + of_type("Assign")


def read_graph(xml_file: Path) -> Graph:
    """Reads an .xml and the .bin beside it."""
    root = ElementTree.parse(xml_file).getroot()
    weights = xml_file.with_suffix(".bin").read_bytes()
    nodes = {}
    for layer in root.find("layers"):
        data = layer.find("data")
        attributes = dict(data.attrib) if data is not None else {}
        content = None
        if layer.get("type") == "Const":
            offset, size = int(attributes.pop("offset")), int(attributes.pop("size"))
            content = weights[offset : offset + size]
        ports = [
            (side, port.get("precision"), *(dim.text for dim in port))
            for side in ("input", "output")
            for port in (layer.find(side) if layer.find(side) is not None else [])
        ]
        nodes[layer.get("id")] = Node(layer.get("type"), layer.get("version"), attributes, content, ports)
    for edge in root.find("edges"):
        source = (edge.get("from-layer"), int(edge.get("from-port")))
        nodes[edge.get("to-layer")].inputs[int(edge.get("to-port"))] = source
    info = {entry.tag: entry.get("value") for entry in root.find("rt_info") if entry.get("value") is not None}
    return Graph(nodes, info)


def differences(ours: Graph, theirs: Graph) -> list[tuple[str, str]]:
    """Pairs of a place ('RegexSplit.6': the sixth input of RegexSplit) and what differs there."""
    found: list[tuple[str, str]] = []
    partner: dict[str, str] = {}

    def walk(mine: str, other: str, place: str) -> None:
        if mine in partner:
            if partner[mine] != other:
                found.append((place, "joined differently"))
            return
        partner[mine] = other
        a, b = ours.nodes[mine], theirs.nodes[other]
        if (a.type, a.version) != (b.type, b.version):
            found.append((place, f"operation {a.type} {a.version} instead of {b.type} {b.version}"))
            return
        if a.attributes != b.attributes:
            found.append((place, f"attributes {a.attributes} instead of {b.attributes}"))
        if a.ports != b.ports:
            found.append((place, "types or shapes of ports"))
        if a.content != b.content:
            found.append((place, "content of the constant"))
        if a.inputs.keys() != b.inputs.keys():
            found.append((place, f"inputs {sorted(a.inputs)} instead of {sorted(b.inputs)}"))
        for port in sorted(a.inputs.keys() & b.inputs.keys()):
            (from_a, port_a), (from_b, port_b) = a.inputs[port], b.inputs[port]
            if port_a != port_b:
                found.append((f"{a.type}.{port}", f"takes output {port_a} instead of {port_b}"))
            walk(from_a, from_b, f"{a.type}.{port}")

    if len(ours.ends()) != len(theirs.ends()):
        found.append(("end", f"{len(ours.ends())} results and states instead of {len(theirs.ends())}"))
    for mine, other in zip(ours.ends(), theirs.ends()):
        walk(mine, other, "end")
    if len(ours.nodes) != len(theirs.nodes):
        found.append(("graph", f"{len(ours.nodes)} nodes instead of {len(theirs.nodes)}"))
    return found
