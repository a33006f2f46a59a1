"""One server that tests may share where they leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import NASTY
from tests.ui.served import Serving, serving


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("spool"), NASTY / "ok_plain.gif") as served:
        yield served
