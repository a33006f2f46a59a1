from __future__ import annotations

import pytest

from tests.conftest import vedit
from vedit.jobs.env import variables

SECRETS = {
    "VEDIT_REMOTE_KEY": "sk-SECRET-1",
    "HF_TOKEN": "hf_SECRET-2",
    "HUGGING_FACE_HUB_TOKEN": "hf_SECRET-3",
    "VEDIT_GENERATE_FIELD": "api_key=SECRET-4",
    "HF_ENDPOINT": "https://user:SECRET-5@hub.invalid",
    "https_proxy": "user:SECRET-6@proxy.invalid:3128",
    "ALL_PROXY": "socks5://SECRET-7@proxy.invalid",
}


def test_variables_that_hold_secrets_are_named_without_their_value() -> None:
    found = variables({**SECRETS, "VEDIT_JOBS": "3", "HOME": "/home/me", "AWS_SECRET": "SECRET-8"})
    assert "SECRET" not in str(list(found.values()))
    assert sorted(found) == sorted([*SECRETS, "VEDIT_JOBS"])
    assert found["VEDIT_JOBS"] == "3" and found["HF_ENDPOINT"] == "https://***@hub.invalid"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_env_prints_no_secret(options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    done = vedit("env", *options)
    assert done.code == 0 and "SECRET" not in done.text + done.err
    assert "VEDIT_REMOTE_KEY" in done.text and "hub.invalid" in done.text
