"""A gRPC echo without generated code: messages are bytes.

Unary and Stream of /echo.Echo; every request metadata key that begins with x- comes back in the
initial metadata, and the number of bytes in the trailer echo-bytes.
Prints `ready PORT`, then one line for each call: `call METHOD METADATA-KEYS`.
"""

from concurrent import futures

import grpc


def announce(method, context):
    keys = sorted({item.key for item in context.invocation_metadata()})
    print("call", method, ",".join(keys), flush=True)
    kept = [(i.key, i.value) for i in context.invocation_metadata() if i.key.startswith("x-")]
    context.send_initial_metadata(kept)


def unary(request, context):
    announce("Unary", context)
    context.set_trailing_metadata([("echo-bytes", str(len(request)))])
    return request


def stream(request, context):
    announce("Stream", context)
    for word in request.split(b" "):
        yield word
    context.set_trailing_metadata([("echo-bytes", str(len(request)))])


def fail(request, context):
    announce("Fail", context)
    context.set_trailing_metadata([("echo-bytes", str(len(request)))])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the echo is out of order")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    handler = grpc.method_handlers_generic_handler("echo.Echo", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("ready", port, flush=True)
    server.wait_for_termination()


main()
