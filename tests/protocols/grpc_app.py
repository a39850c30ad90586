"""A gRPC server without generated code: messages are bytes. HTTP/2 without TLS is all it speaks."""
import os, signal
from concurrent import futures

import grpc


def one(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
    if request == b"who":
        return repr(sorted((key, value) for key, value in context.invocation_metadata())).encode()
    return request


def down(request, context):
    for n in range(int(request)):
        yield b"%d" % n + b"." * 1000


def up(requests, context):
    return b"%d" % sum(map(len, requests))


def talk(requests, context):
    yield from requests


service = {"One": grpc.unary_unary_rpc_method_handler(one), "Down": grpc.unary_stream_rpc_method_handler(down),
           "Up": grpc.stream_unary_rpc_method_handler(up), "Talk": grpc.stream_stream_rpc_method_handler(talk)}
server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 64 << 20)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", service),))
server.add_insecure_port(f"0.0.0.0:{os.environ['PORT']}")
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(10))
server.wait_for_termination()
