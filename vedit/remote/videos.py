"""The /videos job protocol: POST, GET until it is completed, GET its content.

Source: the public interface of OpenAI's Videos API, shut down on 24 September 2026, which vLLM-Omni
and several gateways still speak; there is no address to start from, so the user names one.

    POST /videos               model, prompt, size "1280x720", seconds "4"; vLLM-Omni also takes
                               num_frames, fps, num_inference_steps, guidance_scale, seed, ...
    GET  /videos/ID            {id, status, progress, error: {code, message}}
    GET  /videos/ID/content    the clip
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import IO, Any

from vedit.errors import RemoteError
from vedit.remote.http import Service, quoted
from vedit.remote.jobs import State

SUMMARY = "the /videos job protocol: vLLM-Omni, and gateways that speak it"
FORMS = ("multipart", "json")


def create(service: Service, order: Mapping[str, Any]) -> str:
    """Begin a job. order: the fields by name, and `form`, multipart or json, for how they are sent."""
    fields = {name: value for name, value in order["fields"].items() if value is not None}
    if order.get("form", "multipart") == "json":
        answer = service.post("/videos", json.dumps(fields).encode(), "application/json")
    else:
        answer = service.post("/videos", *multipart(fields))
    if not isinstance(answer.get("id"), str):
        raise RemoteError(
            f"{service.host} began a job without a usable id: {quoted(str(answer.get('id')))!r}.",
            "It answers POST /videos with {id, status}.",
        )
    return str(answer["id"])


def poll(service: Service, id: str) -> State:
    """What the service says of a job."""
    answer = service.get(f"/videos/{id}")
    error, progress = answer.get("error"), answer.get("progress")
    reason = (
        ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))
        if isinstance(error, dict)
        else str(error or "")
    )
    is_number = isinstance(progress, (int, float)) and 0 <= progress <= 100
    return State(str(answer.get("status")), float(progress) if is_number else None, reason)  # type: ignore[arg-type]


def fetch(service: Service, id: str, file: IO[bytes]) -> None:
    """Write the clip of a completed job to a file."""
    service.download(f"/videos/{id}/content", file)


def multipart(fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """Text fields as multipart/form-data (RFC 7578): body and content type."""
    boundary = f"vedit-{secrets.token_hex(16)}"
    parts = []
    for name, value in fields.items():
        escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{escaped}"\r\n\r\n{value}\r\n')
    return ("".join(parts) + f"--{boundary}--\r\n").encode(), f"multipart/form-data; boundary={boundary}"
