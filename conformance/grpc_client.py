"""Calls the gRPC echo: `HOST:PORT METHOD MESSAGE [KEY=VALUE…]`, the pairs being metadata.

Prints `{"code", "details", "messages", "initial", "trailing"}`.
"""

import json
import sys

import grpc


def by_key(metadata):
    kept = {}
    for key, value in metadata or ():
        kept.setdefault(key, []).append(value)
    return kept


def main(target, method, message, *pairs):
    metadata = [tuple(pair.split("=", 1)) for pair in pairs]
    with grpc.insecure_channel(target) as channel:
        kind = channel.unary_stream if method == "Stream" else channel.unary_unary
        call = kind(f"/echo.Echo/{method}")
        messages = []
        if method == "Stream":
            outcome = call(message.encode(), metadata=metadata, timeout=30)
            try:
                messages = [part.decode() for part in outcome]
            except grpc.RpcError:
                pass
        else:
            try:
                answer, outcome = call.with_call(message.encode(), metadata=metadata, timeout=30)
                messages = [answer.decode()]
            except grpc.RpcError as error:
                outcome = error
        told = {
            "code": outcome.code().value[0],
            "details": outcome.details(),
            "messages": messages,
            "initial": by_key(outcome.initial_metadata()),
            "trailing": by_key(outcome.trailing_metadata()),
        }
    print(json.dumps(told))


main(*sys.argv[1:])
