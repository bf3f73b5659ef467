"""PyPI openai, the official SDK: makes the calls that standard input lists, one after the other."""

import json
import sys

import openai


def methods(client):
    return {
        "chat": client.chat.completions.create,
        "completions": client.completions.create,
        "responses": client.responses.create,
        "embeddings": client.embeddings.create,
        "images": client.images.generate,
        "models": client.models.list,
    }


def answer(client, call):
    try:
        made = methods(client)[call["call"]](**call["with"])
        if call["with"].get("stream"):
            return {"events": [event.to_dict() for event in made]}
        return {"answer": made.to_dict()}
    except openai.APIStatusError as error:
        told = {"status": error.status_code, "kind": type(error).__name__, "text": str(error)}
        return {**told, "code": error.code, "type": error.type}


def main():
    wish = json.load(sys.stdin)
    client = openai.OpenAI(base_url=wish["url"] + "/v1", max_retries=wish.get("retries", 0), **wish["credential"])
    print(json.dumps({"answers": [answer(client, call) for call in wish["calls"]]}))


main()
