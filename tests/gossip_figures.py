"""Delivery, latency, copies and bytes of gossip over a mesh and along trees (docs/gossip.md).

    python -m tests.gossip_figures published
    python -m tests.gossip_figures failures

``published``: the setting of the simulator that gossipsub's first author published with its results
(github.com/vyzo/gerbil-simsub; gists 68d4435, e5d41fa and 25a53ec of August 2022): 250, 500 and
1,000 nodes over links of 10 to 150 ms, 60 messages of five sources, one a second. ``failures``: 100
servers, of which a fifth goes down at once, or of whose pushes a share is lost, or of which a fifth
passes nothing on; a message every tenth of a second. One line of JSON for each case.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from consensus.network.mesh import MeshNetwork
from tests.helpers.mesh_scene import MeshScene, anywhere

SERVERS, DOWN, FROM, SECONDS = 100, 20, 10.0, 60.0
"""Servers, and those of them that fail, from which second on, and how long messages are sent."""


def main(words: list[str]) -> None:
    """Print the figures of the named cases."""
    for case in {"published": published, "failures": failures}[words[0]]():
        print(json.dumps(case), flush=True)


def published() -> Iterator[dict[str, Any]]:
    """The figures in the setting of the published results."""
    for servers in (250, 500, 1000):
        for mesh in (True, False):
            scene = MeshScene(anywhere(servers), mesh=mesh)
            told = count_control(scene)
            sources = np.random.default_rng(5).choice(servers, 5, replace=False).tolist()
            for number in range(60):
                scene.speak(sources[number % 5], 5.0 + number, number)
            scene.play(75.0)
            found = figures(scene, range(60), range(servers))
            pushed = found["copies"] * (servers - 1) / servers
            yield {"servers": servers, "per_node": round(pushed, 3), **found, "control": told}


def count_control(scene: MeshScene) -> Counter[str]:
    """A count, from here on, of the control messages of a scene by kind; none along trees."""
    told, network = Counter[str](), scene.network
    if isinstance(network, MeshNetwork):
        usual = network._tell

        def tell(server: int, peers: Sequence[int], kind: str, posts: Sequence[Any]) -> None:
            told[kind] += len(peers)
            usual(server, peers, kind, posts)

        network._tell = tell  # type: ignore[method-assign]
    return told


def failures() -> Iterator[dict[str, Any]]:
    """The figures of servers of which some fail."""
    everyone, left = range(SERVERS), range(DOWN, SERVERS)
    lossy = {"loss": 0.1, "from": FROM}
    for mesh in (True, False):
        for name, who, scene in (
            ("all are up", everyone, MeshScene(anywhere(SERVERS), mesh=mesh)),
            ("a fifth goes down", left, MeshScene(anywhere(SERVERS), mesh=mesh)),
            (
                "a fifth passes nothing on",
                everyone,
                MeshScene(anywhere(SERVERS), mesh=mesh, silent=range(DOWN)),
            ),
            ("a tenth is lost", everyone, MeshScene(anywhere(SERVERS), lossy, mesh=mesh)),
        ):
            if name == "a fifth goes down":
                for server in range(DOWN):
                    scene.set_up(server, FROM, False)
            origins = np.random.default_rng(5).integers(DOWN, SERVERS, int(10 * SECONDS)).tolist()
            for number, origin in enumerate(origins):
                scene.speak(origin, FROM + number / 10, number)
            scene.play(FROM + SECONDS + 10.0)
            found = figures(scene, range(len(origins)), who)
            soon = scene.seconds(range(50))
            yield {"case": name, **found, "p99_of_first_5_s": ms(np.percentile(soon, 99))}


def figures(scene: MeshScene, bodies: range, servers: range) -> dict[str, Any]:
    """The figures of a scene that was played, of these messages and servers."""
    seconds, network = scene.seconds(bodies), scene.network
    new = sum(len(scene.heard[body]) for body in bodies)
    kinds = {kind: size for kind, size in sorted(network.bytes.items()) if size}
    shares = np.histogram(seconds, [0.0, 0.1, 0.2, 0.3, 0.4, np.inf])[0] / len(seconds)
    return {
        "gossip": "mesh" if isinstance(network, MeshNetwork) else "tree",
        "delivered": round(scene.delivered(bodies, servers), 6),
        "copies": round((new + network.duplicates["messages"]) / new, 3),
        "median": ms(np.median(seconds)),
        "p99": ms(np.percentile(seconds, 99)),
        "most": ms(seconds.max()),
        "by_100_ms": [round(float(share), 4) for share in shares],
        "bytes": kinds,
        "bytes_per_delivery": round(sum(kinds.values()) / new),
    }


def ms(seconds: Any) -> float:
    """Milliseconds."""
    return round(1000 * float(seconds), 1)


if __name__ == "__main__":
    main(sys.argv[1:])
