"""Overrides that change an option, for the tests of what depends on it."""

from __future__ import annotations

from bfedrec.config.help import options

ADVERSARY = {
    "adversary.corruption.strategy": ["adversary.corruption.strategy=stake"],
    "adversary.corruption.behaviour": ["adversary.corruption.behaviour=[spam]"],
    "adversary.corruption.in_all": ["adversary.corruption.in_all=7"],
    "adversary.delays.strategy": ["adversary.delays.strategy=halves"],
}


def another(key: str) -> list[str]:
    """Overrides that change an option to some other allowed value."""
    special = {
        "device": ["device=cuda"],
        "name": ["name=other"],
        "loggers": ["loggers=[mlflow]"],
        "clients.malicious": ["clients.malicious=[{attack: scale, share: 0.1}]"],
        "evaluation.targets": ["evaluation.targets=[3]"],
        "ledger.checkpoint_every": ["ledger.checkpoint_every=7", "ledger.barrier=false"],
        "store.api": ["store.api=/dns/node/tcp/5001/https"],
        "servers.pareto_shape": ["servers.pareto_shape=3.0"],
        "servers.stake": ["servers.stake=pareto"],
        "servers.round_trips": ["servers.round_trips=ibm-cloud-2024"],
        "servers.placement": [
            "servers.placement=[Tokyo]", "servers.round_trips=ibm-cloud-2024"
        ],
        "servers.mesh_degree": ["servers.mesh_degree=8", "servers.gossip=mesh"],
        "servers.lazy_degree": ["servers.lazy_degree=8", "servers.gossip=mesh"],
        "servers.heartbeat_ms": ["servers.heartbeat_ms=700", "servers.gossip=mesh"],
        "servers.malicious": ["servers.malicious=1/3"],
        "faults": ["faults=[{loss: 0.1}]"],
        "training.chunk_mib": ["training.chunk_mib=64", "device=torch"],
        "training.virtual_mean_share": [
            "training.virtual_mean_share=0.5", "training.virtual_share=1"
        ],
        "compression.size": ["compression.size=2", "compression.kind=top_k"],
        "compression.downlink": ["compression.downlink=dense", "compression.kind=top_k"],
        "compression.error_feedback": [
            "compression.error_feedback=true", "compression.kind=top_k"
        ],
        "compression.step_bytes": ["compression.step_bytes=1"],
        "privacy.dp.noise": [*read_under("privacy.dp")],
        "privacy.dp.epsilon": ["privacy.dp.epsilon=2"],
        "privacy.dp.group": ["privacy.dp.group=3"],
        "privacy.dp.noise_multiplier": [
            "privacy.dp.noise_multiplier=2", "privacy.dp.epsilon=null"
        ],
        "compression.final_permille": ["compression.final_permille=80"],
        "aggregation.lane_bits": ["aggregation.lane_bits=5"],
        "aggregation.neighbours": ["aggregation.neighbours=4"],
        "aggregation.secure": [*read_under("aggregation.group")],
        "privacy.attacks.names": ["privacy.attacks.names=[sign]"],
        "privacy.attacks.holder": [
            "privacy.attacks.holder=reader", "privacy.attacks.names=[sign]"
        ],
        "data.csv.path": ["data.csv.path=x.csv"],
        "data.csv.delimiter": ["data.csv.delimiter=;"],
        "data.csv.encoding": ["data.csv.encoding=latin-1"],
        "data.csv.threshold": ["data.csv.threshold=3.0", "data.csv.rating=stars"],
        "data.csv.header": [
            "data.csv.header=false", "data.csv.user=0", "data.csv.item=1"
        ],
        "data.file.sha256": [f"data.file.sha256={'a' * 64}"],
        "data.file.threshold": ["data.file.threshold=3.0"],
        "data.file.keep": ["data.file.keep=[view]"],
    }  # fmt: skip
    if key in special or key in ADVERSARY:
        return special.get(key) or ADVERSARY[key]
    option = options()[key]
    if option.type == "true | false":
        return [f"{key}={'false' if option.default == 'true' else 'true'}"]
    if option.type.split()[0] == "int":
        step = -1 if key in ("model.dimension", "committee.size", "servers.count") else 1
        extra = ["committee.size=20"] if key == "servers.count" else []
        return [f"{key}={int(option.default) + step}", *extra]
    if option.type.split()[0] == "float":
        return [f"{key}={float(option.default.replace('null', '0')) * 0.5 or 0.25}"]
    if option.type.split()[0] in ("text", "path"):
        return [f"{key}=column_x"]
    return [f"{key}={next(word for word in option.type.split(' | ') if word != option.default)}"]


def read_under(key: str) -> tuple[str, ...]:
    """Overrides under which an option is read, where the defaults do not read it."""
    if key.startswith("ledger.incentives."):
        on = () if key.endswith(".on") else ("ledger.incentives.on=true",)
        return ("servers.stake_mean=1000000", *on)
    if key.startswith("data.temporal."):
        return ("data.split=temporal",)
    if key.startswith("optimizer.") and key != "optimizer.kind":
        return ("optimizer.kind=row_adaptive",)
    if key in ("aggregation.group", "aggregation.lane_bits", "aggregation.neighbours"):
        return ("aggregation.secure=true", "aggregation.rule=per_item", "compression.kind=levels")
    scored = ("evaluation.unobserved", "evaluation.l2", "evaluation.norm", "evaluation.recency")
    if key == "training.unobserved" or key in scored:
        return ("training.method=ials",)
    if key == "evaluation.neighbours_power":
        return ("evaluation.neighbours=1",)
    if key.startswith("evaluation.recency_"):
        return ("training.method=ials", "evaluation.recency=true")
    if key == "privacy.decoys.factors":
        return ("privacy.decoys.share=0.1", "training.method=ials")
    if key == "privacy.dp.group":
        return (*read_under("privacy.dp"), "privacy.dp.noise=distributed", "privacy.dp.group=2")
    if key.startswith("privacy.dp") and key != "privacy.dp.noise":
        return ("privacy.dp.noise=local", "privacy.dp.epsilon=8", "aggregation.rule=uniform")
    if key in ("compression.cut_permille", "compression.step_bytes"):
        return ("compression.kind=ternary", "compression.size=2")
    if key in ("compression.levels", "compression.step_bits", "compression.final_permille"):
        return ("compression.kind=levels",)
    if key.startswith("adversary.") and not key.endswith(".strategy"):
        section = key.rpartition(".")[0]
        return (f"{section}.strategy={'shuffle' if section.endswith('delays') else 'members'}",)
    if key == "training.network_step":
        return ("training.method=fedncf", "compression.kind=dense")
    if key in ("training.private_step", "training.difference", "training.sparsity"):
        return ("training.method=fedrap", "compression.kind=dense")
    return ()
