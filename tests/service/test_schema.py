"""The interface is what its description says: schemathesis asks what it allows and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.importorskip("fastapi")
schemathesis = pytest.importorskip("schemathesis")

from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

from grouper._service import ARROW, ServiceSettings, create_app  # noqa: E402

pytestmark = pytest.mark.big


@schemathesis.serializer(ARROW)  # type: ignore[untyped-decorator]
def stream(context: Any, value: Any) -> bytes:
    """Send what was drawn for an Arrow stream as it is: hardly ever one."""
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(ServiceSettings()))


@pytest.mark.promise("The service refuses what is malformed, and repeats none of it")
@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_interface_is_what_it_says(case: Any) -> None:
    said = case.call()
    meant = said.status_code == 422 and said.json()["error"]["code"].startswith("E")
    # what is well formed may mean nothing: no scheme of that day, no column of that name
    case.validate_response(said, excluded_checks=[positive_data_acceptance] if meant else [])
