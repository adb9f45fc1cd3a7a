"""What any gRPC client asks before it knows a protocol: health, and which services there are."""

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

# Longest time for any one call.
PATIENCE = 30.0
SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE = "inference.GRPCInferenceService"
CALLS = {
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelStreamInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
}


def test_health_is_served_for_the_server_and_the_service(server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        # What is told is brought up to date once a second: a watch says when the server serves.
        for service in ("", SERVICE):
            watched = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
            assert any(answer.status == SERVING for answer in watched), service
            watched.cancel()
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
            assert answer.status == SERVING, service


def test_the_service_describes_itself_by_reflection(server):
    with grpc.insecure_channel(server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert SERVICE in database.get_services()
        described = DescriptorPool(database).FindServiceByName(SERVICE)
        assert {method.name for method in described.methods} >= CALLS
        assert described.methods_by_name["ModelInfer"].input_type.fields_by_name["raw_input_contents"]
