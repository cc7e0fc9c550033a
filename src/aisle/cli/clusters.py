"""`ais show cluster` and `ais show storage`: who there is, how they are, and how full."""

from collections.abc import Mapping

import click

from aisle.cli import output
from aisle.cli.cache_space import print_spaces, spaces_json
from aisle.cli.parameters import json_option, no_headers_option, units_option
from aisle.cli.repeating import refresh_options, rounds
from aisle.cli.session import Session, pass_session
from aisle.client.cluster import Cluster, ClusterMap, Disks, Node, Status
from aisle.client.space import TargetSpace, target_spaces
from aisle.errors import NotFound
from aisle.model.trees import flat

STORAGE_KINDS = ("disk", "mountpath", "summary")
_ALERTS: Mapping[int, str] = {
    8: "rebalancing",
    16: "rebalance-interrupted",
    128: "restarted",
    256: "out-of-space",
    512: "out-of-memory",
    1024: "maintenance",
    2048: "low-capacity",
    4096: "low-memory",
    8192: "disk-fault",
    524_288: "keepalive-errors",
    1_048_576: "out-of-cpu",
    2_097_152: "low-cpu",
    4_194_304: "disk-out-of-space",
    8_388_608: "disk-low-capacity",
}
"""Bits of `state.flags` that are worth a word (ais-native-api.md §8.2)."""


@click.command("cluster", short_help="Show the nodes and how they are.")
@click.argument("node", default="", metavar="[NODE]")
@refresh_options
@units_option
@no_headers_option
@json_option
@pass_session
def show(
    session: Session,
    *,
    node: str,
    refresh_s: float | None,
    count: int | None,
    no_headers: bool,
    as_json: bool,
) -> None:
    """Show the nodes of the cluster and how they are, or one of them.

    A node in its two roles stands in both tables. With --refresh and --json each report is a line.
    """
    cluster = Cluster(session.client)
    for number in rounds(refresh_s, count):
        members = cluster.map()
        chosen = [found_node(members, node)] if node else list(members.nodes.values())
        states = {each.id: cluster.status(each.id) for each in chosen}
        if as_json:
            document = _cluster_json(session, members, chosen, states)
            (output.print_json if refresh_s is None else output.print_json_line)(document)
            continue
        if number:
            click.echo()
        _print_nodes(members, chosen, states, headers=not no_headers)
        if not node:
            _print_summary(session, cluster, members, states)


@click.command("storage", short_help="Show how full the disks are.")
@click.argument("words", nargs=-1, metavar="[disk|mountpath|summary] [NODE]")
@refresh_options
@units_option
@no_headers_option
@json_option
@pass_session
def storage(
    session: Session,
    *,
    words: tuple[str, ...],
    refresh_s: float | None,
    count: int | None,
    no_headers: bool,
    as_json: bool,
) -> None:
    """Show how full the targets' disks are; `mountpath` lists the folders, `summary` sums up buckets.

    Of a node that keeps copies of remote objects also at which fill levels they are evicted, how much
    can be, and the last eviction.
    """
    kind = words[0] if words and words[0] in STORAGE_KINDS else ""
    rest = words[1:] if kind else words
    if len(rest) > 1:
        raise click.UsageError("name one node; see them with: ais show cluster")
    if kind == "summary":
        from aisle.cli.summary import print_summary

        what = rest[0] if rest else ""
        print_summary(session, what, "", cached=True, headers=not no_headers, as_json=as_json)
        return
    cluster = Cluster(session.client)
    for _ in rounds(refresh_s, count):
        members = cluster.map()
        chosen = [found_node(members, rest[0])] if rest else list(members.targets.values())
        found = {each.id: cluster.disks(each.id) for each in chosen}
        told = target_spaces(session.client) if as_json or kind != "mountpath" else {}
        spaces = {name: space for name, space in told.items() if name in found}
        if as_json:
            document = _storage_json(found, spaces)
            (output.print_json if refresh_s is None else output.print_json_line)(document)
        elif kind == "mountpath":
            _print_mountpaths(found)
        else:
            _print_disks(found, headers=not no_headers)
            print_spaces(spaces, headers=not no_headers)


def found_node(members: ClusterMap, text: str) -> Node:
    """The node that `ID`, `t[ID]` or `p[ID]` names. Raises NotFound."""
    role, bracket, rest = text.partition("[")
    node_id = rest.partition("]")[0] if bracket else text
    for each in members.nodes.values():
        if each.id == node_id and (not bracket or role == each.role[:1]):
            return each
    raise NotFound(f'node "{text}" does not exist; see them with: ais show cluster')


def _print_nodes(
    members: ClusterMap, chosen: list[Node], states: Mapping[str, Status], *, headers: bool
) -> None:
    gateways = [each for each in chosen if each.role == "proxy"]
    targets = [each for each in chosen if each.role == "target"]
    if gateways:
        columns = ["proxy", "mem used(%)", "mem avail", "sys cpu(%)", "uptime", "status", "alert"]
        output.Table(columns, headers=headers).add(
            (
                f"{each.name}{'[P]' if each.id == members.primary.id else ''}",
                *_memory(states[each.id]),
                *_condition(states[each.id]),
            )
            for each in gateways
        )
    if gateways and targets:
        click.echo()
    if targets:
        columns = ["target", "mem used(%)", "mem avail", "cap used(%)", "cap avail"]
        columns += ["sys cpu(%)", "uptime", "status", "alert"]
        output.Table(columns, headers=headers).add(
            (
                each.name,
                *_memory(states[each.id]),
                f"{states[each.id].capacity.percent_average}%",
                output.size_text(int(states[each.id].capacity.available)),
                *_condition(states[each.id]),
            )
            for each in targets
        )


def _memory(state: Status) -> tuple[str, str]:
    return f"{state.system.memory_percent:.2f}%", output.size_text(state.system.memory_available)


def _condition(state: Status) -> tuple[str, str, str, str]:
    flags = state.tracker.get("state.flags", 0)
    alerts = [word for bit, word in _ALERTS.items() if flags & bit]
    return (
        f"{state.system.cpu_percent}%",
        output.span_text(state.uptime_s),
        state.status or "online",
        ",".join(alerts) or "-",
    )


def _print_summary(
    session: Session, cluster: Cluster, members: ClusterMap, states: Mapping[str, Status]
) -> None:
    capacities = [states[name].capacity for name in members.targets]
    used = sum(int(each.used) for each in capacities)
    free = sum(int(each.available) for each in capacities)
    folders = sum(len(each.mountpaths or ()) for each in capacities)
    percent = round(100 * used / (used + free)) if used + free else 0
    primary = states[members.primary.id]
    guarded = flat(dict(session.client.configuration())).get("auth.client_auth_required")
    lines = {
        "CLI Endpoint": session.endpoint,
        "Proxies": str(len(members.gateways)),
        "Targets": f"{len(members.targets)} ({output.count_text(folders, 'mountpath')})",
        "Capacity": f"used {output.size_text(used)} ({percent}%), available {output.size_text(free)}",
        "Cluster Map": f"version {members.version}, UUID {members.id}, primary {members.primary.name}",
        "Software": f"{primary.version} (build: {primary.build or '-'})",
        "Backend": ", ".join(name.upper() for name in cluster.backends()) or "-",
        "Deployment": primary.deployment or "-",
        "Status": f"{sum(not state.status for state in states.values())} online",
        "Rebalance": "-",
        "Authentication": "enabled" if guarded else "disabled",
        "Version": primary.version,
        "Build": primary.build or "n/a",
    }
    click.echo("\nCluster:")
    for name, value in lines.items():
        click.echo(f"   {name + ':':<16}{output.printable(value)}")


def _cluster_json(
    session: Session, members: ClusterMap, chosen: list[Node], states: Mapping[str, Status]
) -> dict[str, object]:
    return {
        "cluster": {
            "id": members.id,
            "endpoint": session.endpoint,
            "map_version": int(members.version),
            "primary": members.primary.id,
        },
        "nodes": [_node_json(each, states[each.id]) for each in chosen],
    }


def _node_json(node: Node, state: Status) -> dict[str, object]:
    told: dict[str, object] = {
        "id": node.id,
        "role": node.role,
        "url": node.public.url,
        "status": state.status or "online",
        "version": state.version,
        "uptime_s": round(state.uptime_s, 3),
        "cpu_percent": state.system.cpu_percent,
        "memory_percent": state.system.memory_percent,
        "memory_available": state.system.memory_available,
        "load": [state.system.load.get(name, 0.0) for name in ("One", "Five", "Fifteen")],
    }
    if node.role == "target":
        capacity = state.capacity
        told |= {
            "used": int(capacity.used),
            "available": int(capacity.available),
            "percent_used": capacity.percent_average,
        }
    return told


def _print_disks(found: Mapping[str, Disks], *, headers: bool) -> None:
    """Disks where targets tell them, else their mountpaths."""
    columns = ["target", "disk", "read", "read(avg size)", "write", "write(avg size)", "util(%)"]
    rows = [
        (
            f"t[{name}]",
            disk,
            f"{output.size_text(each.read_rate)}/s",
            output.size_text(each.read_average),
            f"{output.size_text(each.write_rate)}/s",
            output.size_text(each.write_average),
            f"{each.percent_busy}%",
            f"{space.percent_average}%",
            output.size_text(int(space.available)),
        )
        for name, space in found.items()
        for disk, each in space.activity.items()
    ]
    if rows:
        output.Table([*columns, "cap used(%)", "cap avail"], headers=headers).add(rows)
        return
    output.Table(["target", "mountpath", "cap used(%)", "cap avail"], headers=headers).add(
        (f"t[{name}]", path, f"{each.percent_used}%", output.size_text(int(each.available)))
        for name, space in found.items()
        for path, each in (space.mountpaths or {}).items()
    )


def _print_mountpaths(found: Mapping[str, Disks]) -> None:
    for name, space in found.items():
        click.echo(name)
        percents = (space.percent_min, space.percent_average, space.percent_max)
        click.echo("\tUsed: min={}%, avg={}%, max={}%".format(*percents))
        for path, each in (space.mountpaths or {}).items():
            device, kind = each.file_system.get("Fs", ""), each.file_system.get("FsType", "")
            text = f"{path} {device}({kind})" if device else path
            click.echo(f"\t\t{output.printable(text)}")


def _storage_json(found: Mapping[str, Disks], spaces: Mapping[str, TargetSpace]) -> dict[str, object]:
    import msgspec

    return {
        "targets": [
            {
                "id": name,
                "used": int(space.used),
                "available": int(space.available),
                "mountpaths": [
                    {
                        "path": path,
                        "used": int(each.used),
                        "available": int(each.available),
                        "percent_used": each.percent_used,
                    }
                    for path, each in (space.mountpaths or {}).items()
                ],
                "disks": {disk: msgspec.structs.asdict(each) for disk, each in space.activity.items()},
                "space": spaces_json(spaces[name]) if name in spaces else None,
            }
            for name, space in found.items()
        ]
    }
