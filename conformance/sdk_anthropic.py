"""PyPI anthropic, the official SDK: makes the calls that standard input lists, one after the other."""

import json
import sys

import anthropic


def methods(client):
    return {"messages": client.messages.create, "count_tokens": client.messages.count_tokens}


def answer(client, call):
    try:
        made = methods(client)[call["call"]](**call["with"])
        if call["with"].get("stream"):
            return {"events": [event.to_dict() for event in made]}
        return {"answer": made.to_dict()}
    except anthropic.APIStatusError as error:
        told = {"status": error.status_code, "kind": type(error).__name__, "text": str(error)}
        return {**told, "type": error.type}


def main():
    wish = json.load(sys.stdin)
    client = anthropic.Anthropic(base_url=wish["url"], max_retries=0, **wish["credential"])
    print(json.dumps({"answers": [answer(client, call) for call in wish["calls"]]}))


main()
