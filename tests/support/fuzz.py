"""How properties are tested: the same examples each time, RINDLE_FUZZ_EXAMPLES times as many."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("RINDLE_FUZZ_EXAMPLES") or 1)


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=examples * TIMES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ],
    )


def _in_quotes(parts: list[bytes]) -> bytes:
    return b'"' + b"".join(parts) + b'"'


_pieces = st.sampled_from(
    [
        *(b"a", b" ", b"\\n", b"\\/", "\u200c".encode(), "\U0001f3ac".encode(), b"s3://bucket/x"),
        *(rb"\ud83d", rb"\udc00", rb"\ud83d\ude00", rb"\u0000", rb"\u202e"),
        *(b"\xff", b"\xc3", b"\xed\xa0\xbd", b"\x00", b"\x01", b"\n", b"\x7f", b"\xf4\x90\x80\x80"),
    ]
)
_numbers = st.sampled_from(
    [b"1e400", b"-1e400", b"NaN", b"-Infinity", b"9" * 30, b"9" * 400, b"9" * 5000, b"1e-400"]
)
odd_texts: st.SearchStrategy[bytes] = st.recursive(
    st.lists(_pieces, max_size=6).map(_in_quotes) | _numbers,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: b"[" + b", ".join(parts) + b"]"),
        inner.map(lambda part: b'{"' + rb"\ud83d" + b'": ' + part + b"}"),
        st.builds(
            lambda part, depth: b"[" * depth + part + b"]" * depth,
            inner,
            st.sampled_from([5, 99, 120, 3000]),
        ),
    ),
    max_leaves=4,
)
"""JSON values as real answers have them now and then, and as no strict reader takes them."""
