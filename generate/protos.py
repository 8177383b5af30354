"""Write ``src/kybern/_proto``: minimal .proto files from the fact files, and their Python stubs.

Run ``python -m generate.protos``. Package, message and method names are the wire's: /etcdserverpb.KV/Range,
/runtime.v1.RuntimeService/RunPodSandbox, /grpc.health.v1.Health/Check.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
OUT = SOURCE / "kybern/_proto"
FACTS = Path(__file__).parent / "facts"
HEADER = "// Written by generate/protos.py from facts of the wire format. Do not edit.\n"
HEALTH: Mapping[str, Any] = {
    "package": "grpc.health.v1",
    "messages": {
        "HealthCheckRequest": [[1, "service", "string", ""]],
        "HealthCheckResponse": [[1, "status", "ServingStatus", ""]],
    },
    "enums": {
        "HealthCheckResponse.ServingStatus": {
            "UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2, "SERVICE_UNKNOWN": 3,
        }
    },
    "services": {
        "Health": [
            {"rpc": "Check", "request": "HealthCheckRequest", "response": "HealthCheckResponse"},
            {"rpc": "Watch", "request": "HealthCheckRequest", "response": "stream HealthCheckResponse"},
        ]
    },
}  # fmt: skip
# As much of containerd's own API as it takes to show an image to a container where CRI cannot (containerd before 2.1).
SNAPSHOTS: Mapping[str, Any] = {
    "package": "containerd.services.snapshots.v1",
    "messages": {
        "Mount": [
            [1, "type", "string", ""], [2, "source", "string", ""], [3, "target", "string", ""],
            [4, "options", "string", "repeated"],
        ],
        "ViewSnapshotRequest": [
            [1, "snapshotter", "string", ""], [2, "key", "string", ""], [3, "parent", "string", ""],
        ],
        "ViewSnapshotResponse": [[1, "mounts", "Mount", "repeated"]],
        "RemoveSnapshotRequest": [[1, "snapshotter", "string", ""], [2, "key", "string", ""]],
        "RemoveSnapshotResponse": [],
    },
    "enums": {},
    "services": {
        "Snapshots": [
            {"rpc": "View", "request": "ViewSnapshotRequest", "response": "ViewSnapshotResponse"},
            {"rpc": "Remove", "request": "RemoveSnapshotRequest", "response": "RemoveSnapshotResponse"},
        ]
    },
}  # fmt: skip
# As much of it as it takes to end a task that its CRI does not know of.
TASKS: Mapping[str, Any] = {
    "package": "containerd.services.tasks.v1",
    "messages": {
        "Process": [
            [1, "container_id", "string", ""], [2, "id", "string", ""], [3, "pid", "uint32", ""],
            [4, "status", "int32", ""],
        ],
        "GetRequest": [[1, "container_id", "string", ""], [2, "exec_id", "string", ""]],
        "GetResponse": [[1, "process", "Process", ""]],
        "KillRequest": [
            [1, "container_id", "string", ""], [2, "exec_id", "string", ""], [3, "signal", "uint32", ""],
            [4, "all", "bool", ""],
        ],
        "Empty": [],
        "DeleteTaskRequest": [[1, "container_id", "string", ""]],
        "DeleteResponse": [
            [1, "id", "string", ""], [2, "pid", "uint32", ""], [3, "exit_status", "uint32", ""],
        ],
    },
    "enums": {},
    "services": {
        "Tasks": [
            {"rpc": "Get", "request": "GetRequest", "response": "GetResponse"},
            {"rpc": "Kill", "request": "KillRequest", "response": "Empty"},
            {"rpc": "Delete", "request": "DeleteTaskRequest", "response": "DeleteResponse"},
        ]
    },
}  # fmt: skip
REGISTRATION: Mapping[str, Any] = {
    "package": "pluginregistration",
    "messages": {
        "PluginInfo": [
            [1, "type", "string", ""], [2, "name", "string", ""], [3, "endpoint", "string", ""],
            [4, "supported_versions", "string", "repeated"],
        ],
        "RegistrationStatus": [[1, "plugin_registered", "bool", ""], [2, "error", "string", ""]],
        "RegistrationStatusResponse": [],
        "InfoRequest": [],
    },
    "enums": {},
    "services": {
        "Registration": [
            {"rpc": "GetInfo", "request": "InfoRequest", "response": "PluginInfo"},
            {
                "rpc": "NotifyRegistrationStatus",
                "request": "RegistrationStatus",
                "response": "RegistrationStatusResponse",
            },
        ]
    },
}  # fmt: skip
# What a kubelet asks of a driver of devices. v1beta1 has the same messages.
DRA: Mapping[str, Any] = {
    "package": "k8s.io.kubelet.pkg.apis.dra.v1",
    "messages": {
        "Claim": [[1, "namespace", "string", ""], [2, "uid", "string", ""], [3, "name", "string", ""]],
        "Device": [
            [1, "request_names", "string", "repeated"], [2, "pool_name", "string", ""],
            [3, "device_name", "string", ""], [4, "cdi_device_ids", "string", "repeated"],
            [5, "share_id", "string", "optional"],
        ],
        "NodePrepareResourcesRequest": [[1, "claims", "Claim", "repeated"]],
        "NodePrepareResourceResponse": [[1, "devices", "Device", "repeated"], [2, "error", "string", ""]],
        "NodePrepareResourcesResponse": [[1, "claims", "map<string,NodePrepareResourceResponse>", ""]],
        "NodeUnprepareResourcesRequest": [[1, "claims", "Claim", "repeated"]],
        "NodeUnprepareResourceResponse": [[1, "error", "string", ""]],
        "NodeUnprepareResourcesResponse": [[1, "claims", "map<string,NodeUnprepareResourceResponse>", ""]],
    },
    "enums": {},
    "services": {
        "DRAPlugin": [
            {
                "rpc": "NodePrepareResources",
                "request": "NodePrepareResourcesRequest",
                "response": "NodePrepareResourcesResponse",
            },
            {
                "rpc": "NodeUnprepareResources",
                "request": "NodeUnprepareResourcesRequest",
                "response": "NodeUnprepareResourcesResponse",
            },
        ]
    },
}  # fmt: skip
# What drivers of devices tell of their health (dra-health/v1alpha1).
DRA_HEALTH: Mapping[str, Any] = {
    "package": "v1alpha1",
    "messages": {
        "NodeWatchResourcesRequest": [],
        "DeviceIdentifier": [[1, "pool_name", "string", ""], [2, "device_name", "string", ""]],
        "DeviceHealth": [
            [1, "device", "DeviceIdentifier", ""], [2, "health", "HealthStatus", ""],
            [3, "last_updated_time", "int64", ""], [4, "health_check_timeout_seconds", "int64", ""],
            [5, "message", "string", ""],
        ],
        "NodeWatchResourcesResponse": [[1, "devices", "DeviceHealth", "repeated"]],
    },
    "enums": {"HealthStatus": {"UNKNOWN": 0, "HEALTHY": 1, "UNHEALTHY": 2}},
    "services": {
        "DRAResourceHealth": [
            {
                "rpc": "NodeWatchResources",
                "request": "NodeWatchResourcesRequest",
                "response": "stream NodeWatchResourcesResponse",
            },
        ]
    },
}  # fmt: skip
_CONTEXT = "map<string,string>"
# What a kubelet asks of a storage driver (CSI v1). Enumerations are numbers, which is the same on the wire; messages that
# the specification nests stand by themselves.
CSI: Mapping[str, Any] = {
    "package": "csi.v1",
    "messages": {
        "BlockVolume": [],
        "MountVolume": [
            [1, "fs_type", "string", ""], [2, "mount_flags", "string", "repeated"],
            [3, "volume_mount_group", "string", ""],
        ],
        "AccessMode": [[1, "mode", "int32", ""]],
        "VolumeCapability": [
            [1, "block", "BlockVolume", ""], [2, "mount", "MountVolume", ""], [3, "access_mode", "AccessMode", ""],
        ],
        "CapacityRange": [[1, "required_bytes", "int64", ""], [2, "limit_bytes", "int64", ""]],
        "Topology": [[1, "segments", _CONTEXT, ""]],
        "NodeStageVolumeRequest": [
            [1, "volume_id", "string", ""], [2, "publish_context", _CONTEXT, ""],
            [3, "staging_target_path", "string", ""], [4, "volume_capability", "VolumeCapability", ""],
            [5, "secrets", _CONTEXT, ""], [6, "volume_context", _CONTEXT, ""],
        ],
        "NodeStageVolumeResponse": [],
        "NodeUnstageVolumeRequest": [[1, "volume_id", "string", ""], [2, "staging_target_path", "string", ""]],
        "NodeUnstageVolumeResponse": [],
        "NodePublishVolumeRequest": [
            [1, "volume_id", "string", ""], [2, "publish_context", _CONTEXT, ""],
            [3, "staging_target_path", "string", ""], [4, "target_path", "string", ""],
            [5, "volume_capability", "VolumeCapability", ""], [6, "readonly", "bool", ""],
            [7, "secrets", _CONTEXT, ""], [8, "volume_context", _CONTEXT, ""],
        ],
        "NodePublishVolumeResponse": [],
        "NodeUnpublishVolumeRequest": [[1, "volume_id", "string", ""], [2, "target_path", "string", ""]],
        "NodeUnpublishVolumeResponse": [],
        "ServiceCapability": [[1, "type", "int32", ""]],
        "NodeServiceCapability": [[1, "rpc", "ServiceCapability", ""]],
        "NodeGetCapabilitiesRequest": [],
        "NodeGetCapabilitiesResponse": [[1, "capabilities", "NodeServiceCapability", "repeated"]],
        "NodeGetInfoRequest": [],
        "NodeGetInfoResponse": [
            [1, "node_id", "string", ""], [2, "max_volumes_per_node", "int64", ""],
            [3, "accessible_topology", "Topology", ""],
        ],
        "NodeGetVolumeStatsRequest": [
            [1, "volume_id", "string", ""], [2, "volume_path", "string", ""], [3, "staging_target_path", "string", ""],
        ],
        "VolumeUsage": [
            [1, "available", "int64", ""], [2, "total", "int64", ""], [3, "used", "int64", ""], [4, "unit", "int32", ""],
        ],
        "VolumeCondition": [[1, "abnormal", "bool", ""], [2, "message", "string", ""]],
        "NodeGetVolumeStatsResponse": [
            [1, "usage", "VolumeUsage", "repeated"], [2, "volume_condition", "VolumeCondition", ""],
        ],
        "NodeExpandVolumeRequest": [
            [1, "volume_id", "string", ""], [2, "volume_path", "string", ""],
            [3, "capacity_range", "CapacityRange", ""], [4, "staging_target_path", "string", ""],
            [5, "volume_capability", "VolumeCapability", ""], [6, "secrets", _CONTEXT, ""],
        ],
        "NodeExpandVolumeResponse": [[1, "capacity_bytes", "int64", ""]],
        "GetPluginInfoRequest": [],
        "GetPluginInfoResponse": [
            [1, "name", "string", ""], [2, "vendor_version", "string", ""], [3, "manifest", _CONTEXT, ""],
        ],
        "PluginCapability": [[1, "service", "ServiceCapability", ""], [2, "volume_expansion", "ServiceCapability", ""]],
        "GetPluginCapabilitiesRequest": [],
        "GetPluginCapabilitiesResponse": [[1, "capabilities", "PluginCapability", "repeated"]],
        "ProbeRequest": [],
        "BoolValue": [[1, "value", "bool", ""]],
        "ProbeResponse": [[1, "ready", "BoolValue", ""]],
    },
    "enums": {},
    "services": {
        "Node": [
            {"rpc": name, "request": f"{name}Request", "response": f"{name}Response"}
            for name in (
                "NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume",
                "NodeGetCapabilities", "NodeGetInfo", "NodeGetVolumeStats", "NodeExpandVolume",
            )
        ],
        "Identity": [
            {"rpc": name, "request": f"{name}Request", "response": f"{name}Response"}
            for name in ("GetPluginInfo", "GetPluginCapabilities", "Probe")
        ],
    },
}  # fmt: skip
# Programs that know of devices (GPUs and the like), and what they say of them.
DEVICES: Mapping[str, Any] = {
    "package": "v1beta1",
    "messages": {
        "DevicePluginOptions": [
            [1, "pre_start_required", "bool", ""], [2, "get_preferred_allocation_available", "bool", ""],
        ],
        "RegisterRequest": [
            [1, "version", "string", ""], [2, "endpoint", "string", ""], [3, "resource_name", "string", ""],
            [4, "options", "DevicePluginOptions", ""],
        ],
        "Empty": [],
        "NUMANode": [[1, "ID", "int64", ""]],
        "TopologyInfo": [[1, "nodes", "NUMANode", "repeated"]],
        "Device": [[1, "ID", "string", ""], [2, "health", "string", ""], [3, "topology", "TopologyInfo", ""]],
        "ListAndWatchResponse": [[1, "devices", "Device", "repeated"]],
        "PreStartContainerRequest": [[1, "devices_ids", "string", "repeated"]],
        "PreStartContainerResponse": [],
        "ContainerPreferredAllocationRequest": [
            [1, "available_deviceIDs", "string", "repeated"], [2, "must_include_deviceIDs", "string", "repeated"],
            [3, "allocation_size", "int32", ""],
        ],
        "PreferredAllocationRequest": [
            [1, "container_requests", "ContainerPreferredAllocationRequest", "repeated"],
        ],
        "ContainerPreferredAllocationResponse": [[1, "deviceIDs", "string", "repeated"]],
        "PreferredAllocationResponse": [
            [1, "container_responses", "ContainerPreferredAllocationResponse", "repeated"],
        ],
        "ContainerAllocateRequest": [[1, "devices_ids", "string", "repeated"]],
        "AllocateRequest": [[1, "container_requests", "ContainerAllocateRequest", "repeated"]],
        "CDIDevice": [[1, "name", "string", ""]],
        "Mount": [
            [1, "container_path", "string", ""], [2, "host_path", "string", ""], [3, "read_only", "bool", ""],
        ],
        "DeviceSpec": [
            [1, "container_path", "string", ""], [2, "host_path", "string", ""], [3, "permissions", "string", ""],
        ],
        "ContainerAllocateResponse": [
            [1, "envs", _CONTEXT, ""], [2, "mounts", "Mount", "repeated"], [3, "devices", "DeviceSpec", "repeated"],
            [4, "annotations", _CONTEXT, ""], [5, "cdi_devices", "CDIDevice", "repeated"],
        ],
        "AllocateResponse": [[1, "container_responses", "ContainerAllocateResponse", "repeated"]],
    },
    "enums": {},
    "services": {
        "Registration": [{"rpc": "Register", "request": "RegisterRequest", "response": "Empty"}],
        "DevicePlugin": [
            {"rpc": "GetDevicePluginOptions", "request": "Empty", "response": "DevicePluginOptions"},
            {"rpc": "ListAndWatch", "request": "Empty", "response": "stream ListAndWatchResponse"},
            {
                "rpc": "GetPreferredAllocation",
                "request": "PreferredAllocationRequest",
                "response": "PreferredAllocationResponse",
            },
            {"rpc": "Allocate", "request": "AllocateRequest", "response": "AllocateResponse"},
            {
                "rpc": "PreStartContainer",
                "request": "PreStartContainerRequest",
                "response": "PreStartContainerResponse",
            },
        ],
    },
}  # fmt: skip
KMS: Mapping[str, Any] = {
    # The API of key management plugins (k8s.io/kms/apis/v2), and what lies in etcd, whose package has the same name
    # (k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2).
    "package": "v2",
    "messages": {
        "StatusRequest": [],
        "StatusResponse": [
            [1, "version", "string", ""], [2, "healthz", "string", ""], [3, "key_id", "string", ""],
        ],
        "DecryptRequest": [
            [1, "ciphertext", "bytes", ""], [2, "uid", "string", ""], [3, "key_id", "string", ""],
            [4, "annotations", "map<string,bytes>", ""],
        ],
        "DecryptResponse": [[1, "plaintext", "bytes", ""]],
        "EncryptRequest": [[1, "plaintext", "bytes", ""], [2, "uid", "string", ""]],
        "EncryptResponse": [
            [1, "ciphertext", "bytes", ""], [2, "key_id", "string", ""], [3, "annotations", "map<string,bytes>", ""],
        ],
        "EncryptedObject": [
            [1, "encryptedData", "bytes", ""], [2, "keyID", "string", ""], [3, "encryptedDEKSource", "bytes", ""],
            [4, "annotations", "map<string,bytes>", ""], [5, "encryptedDEKSourceType", "EncryptedDEKSourceType", ""],
        ],
    },
    "enums": {"EncryptedDEKSourceType": {"AES_GCM_KEY": 0, "HKDF_SHA256_XNONCE_AES_GCM_SEED": 1}},
    "services": {
        "KeyManagementService": [
            {"rpc": "Status", "request": "StatusRequest", "response": "StatusResponse"},
            {"rpc": "Decrypt", "request": "DecryptRequest", "response": "DecryptResponse"},
            {"rpc": "Encrypt", "request": "EncryptRequest", "response": "EncryptResponse"},
        ],
    },
}  # fmt: skip
# Alternatives of one another: a value of zero must still be sent, to say which alternative is meant.
ONEOFS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "RequestOp": ("request", ("request_range", "request_put", "request_delete_range", "request_txn")),
    "ResponseOp": ("response", ("response_range", "response_put", "response_delete_range", "response_txn")),
    "Compare": (
        "target_union",
        ("version", "create_revision", "mod_revision", "value", "lease"),
    ),
    "VolumeCapability": ("access_type", ("block", "mount")),
    "PluginCapability": ("type", ("service", "volume_expansion")),
    "WatchRequest": ("request_union", ("create_request", "cancel_request", "progress_request")),
}


def enum(name: str, values: Mapping[str, int], indent: str) -> Iterator[str]:
    yield f"{indent}enum {name} {{"
    for value, number in values.items():
        yield f"{indent}  {value} = {number};"
    yield f"{indent}}}"


def field(row: list[Any]) -> str:
    number, name, kind, label = row
    shown = kind.replace(",", ", ")
    return f"{label} {shown} {name} = {number};".lstrip()


def message(name: str, rows: list[list[Any]], enums: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield f"message {name} {{"
    for full, values in enums.items():
        owner, _, short = full.rpartition(".")
        if owner == name:
            yield from enum(short, values, "  ")
    union, members = ONEOFS.get(name, ("", ()))
    for row in rows:
        if row[1] not in members:
            yield f"  {field(row)}"
    if union:
        yield f"  oneof {union} {{"
        yield from (f"    {field(row)}" for row in rows if row[1] in members)
        yield "  }"
    yield "}"


def proto(facts: Mapping[str, Any], imports: tuple[str, ...] = ()) -> str:
    lines = [HEADER, 'syntax = "proto3";', f"package {facts['package']};"]
    lines += [f'import "kybern/_proto/{name}.proto";' for name in imports]
    enums = facts["enums"]
    for name, values in enums.items():
        if "." not in name:
            lines += enum(name, values, "")
    for name, rows in facts["messages"].items():
        lines += message(name, rows, enums)
    for name, calls in (facts["services"] or {}).items():
        lines.append(f"service {name} {{")
        lines += [f"  rpc {c['rpc']}({c['request']}) returns ({c['response']});" for c in calls]
        lines.append("}")
    return "\n".join(lines) + "\n"


def sources() -> dict[str, str]:
    """The .proto files by their name without suffix."""
    etcd = json.loads((FACTS / "protobuf_etcd.json").read_text())
    cri = json.loads((FACTS / "protobuf_cri.json").read_text())
    rpc = {**etcd["etcdserverpb"]}
    rpc["services"] = {name: calls for name, calls in rpc["services"].items() if name != "Auth"}
    rpc["messages"] = {name: rows for name, rows in rpc["messages"].items() if not name.startswith("Auth")}
    return {
        "mvcc": proto(etcd["mvccpb"]),
        "etcd": proto(rpc, ("mvcc",)),
        "cri": proto(cri),
        "health": proto(HEALTH),
        "snapshots": proto(SNAPSHOTS),
        "tasks": proto(TASKS),
        "pluginregistration": proto(REGISTRATION),
        "csi": proto(CSI),
        "dra": proto(DRA),
        "dra_health": proto(DRA_HEALTH),
        "deviceplugin": proto(DEVICES),
        "kms": proto(KMS),
        "podresources": proto(json.loads((FACTS / "protobuf_pod_resources.json").read_text())),
    }


def main() -> None:
    for name, text in sources().items():
        (OUT / f"{name}.proto").write_text(text)
    paths = [f"kybern/_proto/{name}.proto" for name in sources()]
    included = str(files("grpc_tools") / "_proto")
    outs = [f"--{kind}_out={SOURCE}" for kind in ("python", "pyi", "grpc_python")]
    failed = protoc.main(["protoc", f"-I{SOURCE}", f"-I{included}", *outs, *paths])
    if failed:
        raise SystemExit(failed)
    (OUT / "mvcc_pb2_grpc.py").unlink()


if __name__ == "__main__":
    main()
