"""Damaged variants of valid bytes and of valid JSON."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]

EDITS = ["byte", "number", "insert", "delete", "cut", "join", "repeat"]

ODD_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\ud800", "x" * 2000, "../..", "s3://", "%00", "\r\nx: y", "\x1b["]),
    st.just([]),
    st.just({}),
)


@st.composite
def damaged(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of the originals after a few edits, most of them near its start."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 6))):
        near = draw(st.sampled_from([16, 64, 256, 1 << 20]))
        at = draw(st.integers(0, max(0, min(near, len(data)) - 1)))
        match draw(
            st.sampled_from(["byte", "number", "insert", "delete", "cut", "join", "repeat"])
        ):
            case "byte":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "number":
                order = draw(st.sampled_from(["little", "big"]))
                size = draw(st.sampled_from([2, 4, 8]))
                number = draw(st.sampled_from(NUMBERS)) % 256**size
                data[at : at + size] = number.to_bytes(size, "big" if order == "big" else "little")
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "delete":
                del data[at : at + draw(st.integers(1, 40))]
            case "cut":
                del data[at:]
            case "join":
                data += draw(st.sampled_from(originals))
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 2000))]
    return bytes(data)


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """The value with some parts replaced, removed or added."""
    if draw(st.integers(0, 12)) == 0:
        return draw(ODD_VALUES)
    if isinstance(value, dict):
        found = {
            key: draw(altered(each)) for key, each in value.items() if draw(st.integers(0, 12))
        }
        if draw(st.integers(0, 8)) == 0:
            found[draw(st.text(max_size=12))] = draw(ODD_VALUES)
        return found
    if isinstance(value, list):
        return [draw(altered(each)) for each in value for _ in range(draw(st.integers(0, 2)) or 1)]
    return value
