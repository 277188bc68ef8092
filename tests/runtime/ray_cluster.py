"""A Ray cluster of several nodes on this machine, in a process of its own.

It prints the address of the head as a line of JSON, then answers each line of input: `state` with the free
CPUs, `remove` likewise, after it has removed the last node. It ends with its input.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import ray
    from ray.cluster_utils import Cluster

    nodes = int(sys.argv[1])
    options = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    added = [
        cluster.add_node(num_cpus=1, object_store_memory=options["object_store_memory"])
        for _ in range(nodes - 1)
    ]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    print(json.dumps({"address": cluster.address}), flush=True)
    for line in sys.stdin:
        if line.strip() == "remove":
            cluster.remove_node(added.pop(), allow_graceful=False)
        print(json.dumps({"free_cpus": ray.available_resources().get("CPU", 0.0)}), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
