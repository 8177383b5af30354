"""gRPC's own health service: well when it answers SERVING."""

import grpc
import grpc.aio

from kybern._proto import health_pb2 as pb
from kybern._proto import health_pb2_grpc as rpc
from kybern.api.core_v1 import GRPCAction
from kybern.kubelet.probes.target import Outcome, Target, within


async def probe(action: GRPCAction, target: Target) -> Outcome:
    where = within(target.ip, action.port or 0)
    options = [("grpc.primary_user_agent", target.agent), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(where, options=options) as channel:
        try:
            request = pb.HealthCheckRequest(service=action.service)
            answer = await rpc.HealthStub(channel).Check(request, timeout=target.seconds)
        except grpc.aio.AioRpcError as problem:
            return Outcome(False, _why(problem, where, target.seconds))
    if answer.status == pb.HealthCheckResponse.SERVING:
        return Outcome(True)
    names: dict[int, str] = {number: name for name, number in pb.HealthCheckResponse.ServingStatus.items()}
    # A server may answer any number.
    name = names.get(answer.status, str(answer.status))
    return Outcome(False, f'service unhealthy (responded with "{name}")')


def _why(problem: grpc.aio.AioRpcError, where: str, seconds: float) -> str:
    match problem.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        case grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.UNAVAILABLE:
            return f'timeout: failed to connect service "{where}" within {seconds:g}s: {problem.details()}'
        case code:
            return f"error: health rpc failed: rpc error: code = {code.name} desc = {problem.details()}"
