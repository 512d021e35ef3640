"""Whatever models.json contains, it is used, or refused with a reason; nothing else happens."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddsound import catalogue
from oddsound.artifacts import Artifacts
from oddsound.errors import AudioAnomalyError, ModelsConfigError
from oddsound.registry import Registry
from oddsound.settings import Settings, shipped_models
from tests.fuzz.damage import altered, damaged

pytestmark = pytest.mark.slow

SHIPPED = shipped_models()
assert SHIPPED is not None
TEXT = SHIPPED.read_bytes()
WHOLE: dict[str, Any] = json.loads(TEXT)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def use(text: bytes | str) -> None:
    """Read it as a service does, list the models, and load each of them."""
    try:
        catalogue.parse(text, "models.json")
    except ModelsConfigError as error:
        assert len(str(error)) < 2000  # noqa: PT017  the text is for people
        return
    assert SHIPPED is not None
    decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    settings = Settings(models_config_json=decoded)
    registry = Registry(settings, Artifacts(lambda: None, SHIPPED.parent / "nowhere"))
    try:
        listed = registry.describe()
    except ModelsConfigError:
        return
    json.dumps(json.loads(listed.model_dump_json()))
    for info in listed.models:
        try:
            registry.get(info.name)
        except AudioAnomalyError as error:
            str(error).encode()


@given(damaged([TEXT]))
def test_damaged_text(text: bytes) -> None:
    use(text)


@given(altered(WHOLE))
def test_altered_entries(value: Any) -> None:
    use(json.dumps(value))


@given(JSON_VALUES)
def test_any_json(value: Any) -> None:
    use(json.dumps({"fan": value}))
