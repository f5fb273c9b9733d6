"""Fetches prompts with Langfuse's own client and prints what it understood, as one JSON object.

python fetch.py URL [PUBLIC_KEY SECRET_KEY]
"""

import json
import sys
import time

from langfuse import Langfuse
from langfuse.api import NotFoundError, UnauthorizedError

url, public_key, secret_key = (sys.argv[1:] + ["pk-unused", "sk-unused"])[:3]
client = Langfuse(base_url=url, public_key=public_key, secret_key=secret_key, tracing_enabled=False)


def described(prompt):
    return {
        "name": prompt.name,
        "version": prompt.version,
        "prompt": prompt.prompt,
        "config": prompt.config,
        "labels": prompt.labels,
        "tags": prompt.tags,
        "commit_message": prompt.commit_message,
        "is_fallback": prompt.is_fallback,
    }


def raised(attempt):
    try:
        attempt()
    except Exception as error:
        return {"type": type(error).__name__, "body": getattr(error, "body", None)}
    return None


if raised(lambda: client.api.projects.get()) is not None:
    # Whoever is not let in must hear it as the exception that the client documents.
    found = {
        "auth_check": raised(client.auth_check),
        "get": raised(lambda: client.get_prompt("greeting", max_retries=0)),
        "direct": raised(lambda: client.api.prompts.get("greeting")),
        "is_unauthorized": UnauthorizedError.__name__,
    }
else:
    greeting = client.get_prompt("greeting")
    chat = client.get_prompt("support/first reply", type="chat")
    composed = client.get_prompt("composed")
    pages = [client.api.prompts.list(page=page, limit=2) for page in (1, 2)]
    began = time.monotonic()
    fallback = client.get_prompt("missing", fallback="Hello, {{name}}.")
    found = {
        "auth_check": client.auth_check(),
        "default": described(greeting),
        "compiled": greeting.compile(name="Ada"),
        "by_label": described(client.get_prompt("greeting", label="latest")),
        "by_version": described(client.get_prompt("greeting", version=1)),
        "chat": described(chat),
        "chat_compiled": chat.compile(tone="kind", history=[{"role": "user", "content": "Hi!"}]),
        "composed": described(composed),
        "composed_graph": client.api.prompts.get("composed").resolution_graph,
        "composed_raw": client.api.prompts.get("composed", resolve=False).prompt,
        "fallback": described(fallback),
        "fallback_compiled": fallback.compile(name="Ada"),
        "missing": raised(lambda: client.get_prompt("missing", max_retries=0)),
        "missing_label": raised(lambda: client.api.prompts.get("greeting", label="nowhere")),
        "is_not_found": NotFoundError.__name__,
        "both": raised(lambda: client.api.prompts.get("greeting", label="production", version=1)),
        "names": [meta.name for page in pages for meta in page.data],
        "meta": pages[1].meta.dict(),
        "tagged": [meta.dict() for meta in client.api.prompts.list(tag="support").data],
        "create": raised(lambda: client.create_prompt(name="new", prompt="x")),
    }
print(json.dumps(found, default=str))
