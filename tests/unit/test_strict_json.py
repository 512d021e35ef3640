"""JSON whose values can be passed on."""

import json

import pytest

from oddsound import catalogue, strict_json
from oddsound.errors import ModelsConfigError


@pytest.mark.parametrize(
    "value", [{}, [], None, "Lüfter ☂ 🔧", {"a": [1, -2.5e300, True, {"\x01\n": "\x7f"}]}]
)
def test_every_other_value_is_read(value: object) -> None:
    assert strict_json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("NaN", "it contains NaN, which is not a number of JSON"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": [0, 1e400]}', "a.1: the number is too large"),
        ("9" * 5000, "it contains a number of 5,000 digits"),
        (r'{"fan": {"model_path": "a\u0000b"}}', "fan.model_path: the text contains U+0000"),
        (r'{"fan": {"a\u0000b": 1}}', "fan: the text contains U+0000"),
        (r'["\ud800"]', "0: the text contains U+D800, which is not a character"),
        (r'{"\udfff": 1}', "the text contains U+DFFF"),
        ('{"fan": {"a": 1, "b": 2, "a": 1}}', "the key 'a' appears more than once in an object"),
        ('{"fan": {}, "fan": {}}', "the key 'fan' appears more than once"),
        (r'{"a": 1, "\u0061": 1}', "the key 'a' appears more than once"),
        ("[" * 100 + "]" * 100, "nested deeper than 50 levels"),
        ("[" * 200_000, "nested deeper than 50 levels"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("+", r"\+")) as raised:
        strict_json.loads(text)
    assert len(str(raised.value)) < 300


DIRECTIONS = "\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"


def test_control_characters_are_escaped_without_a_change_of_the_value() -> None:
    value = {"a\x7f": "\x80\x9f\x9b2J \xa0é☂💥"} | dict.fromkeys(DIRECTIONS, "\u200d\u2010")
    text = strict_json.printable(json.dumps(value, ensure_ascii=False).encode())
    assert text.decode().startswith('{"a\\u007f": "\\u0080\\u009f\\u009b2J \xa0é☂💥", "\\u061c": ')
    assert not set(DIRECTIONS) & set(text.decode())
    assert json.loads(text) == value


def test_many_keys_are_compared_in_little_time() -> None:
    text = json.dumps({f"model-{number}": number for number in range(200_000)})
    assert len(strict_json.loads(text)) == 200_000
    with pytest.raises(ValueError, match="the key 'model-199999' appears more than once"):
        strict_json.loads(f'{text[:-1]}, "model-199999": 0}}')


def test_a_long_invalid_value_is_shortened() -> None:
    text = json.dumps({"fan": {"model_path": ["x" * 10_000]}})
    with pytest.raises(ModelsConfigError) as raised:
        catalogue.parse(text, "models.json")
    assert len(str(raised.value)) < 250
    assert "models.json, fan.model_path: Input should be a valid string, found ['xxx" in str(
        raised.value
    )


def test_an_impossible_window_is_refused() -> None:
    text = json.dumps({"fan": {"model_path": "a", "window_s": 1e305}})
    words = r"fan\.window_s: Input should be less than or equal to 86400, found 1e\+305"
    with pytest.raises(ModelsConfigError, match=words):
        catalogue.parse(text, "models.json")


def test_nul_is_allowed_where_no_text_becomes_a_path() -> None:
    text = r'{"note": "a\u0000b"}'
    assert strict_json.loads(text, with_nul=True) == {"note": "a\0b"}
    with pytest.raises(ValueError, match=r"note: the text contains U\+0000"):
        strict_json.loads(text)
