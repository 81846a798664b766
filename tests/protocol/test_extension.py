"""`_extension`: what is offered, and what a server may answer, as tables (RFC 7692 section 7.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import parse_extension

from trio_socket_task import InvalidOptionsError, PerMessageDeflate
from trio_socket_task._protocol._extension import InvalidExtensionError, accept, offer

OFFERED = PerMessageDeflate()
WIDE = PerMessageDeflate(client_max_window_bits=15)
NARROW = PerMessageDeflate(server_max_window_bits=10, client_max_window_bits=11)
ALONE = PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (OFFERED, "permessage-deflate; client_max_window_bits=12"),
        (WIDE, "permessage-deflate; client_max_window_bits"),
        (NARROW, "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11"),
        (
            ALONE,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12",
        ),
        (PerMessageDeflate(level=9, memory_level=9, threshold=0), "permessage-deflate; client_max_window_bits=12"),
    ],
)
def test_the_offer_asks_for_what_is_wanted_and_for_nothing_else(wanted: PerMessageDeflate, text: str) -> None:
    """What is the default of the RFC is not said, and what is this side's own affair neither."""
    assert offer(wanted) == text


@pytest.mark.parametrize(
    ("offered", "answer", "agreed"),
    [
        (OFFERED, "permessage-deflate", OFFERED),
        (OFFERED, " permessage-deflate ", OFFERED),
        (OFFERED, ", permessage-deflate,", OFFERED),
        (OFFERED, "permessage-deflate; client_max_window_bits=12", OFFERED),
        (OFFERED, 'permessage-deflate;client_max_window_bits="12"', OFFERED),
        (OFFERED, 'permessage-deflate ; client_max_window_bits = "1\\2"', OFFERED),
        (OFFERED, "permessage-deflate; client_max_window_bits=9", PerMessageDeflate(client_max_window_bits=9)),
        (OFFERED, "permessage-deflate; server_max_window_bits=15", OFFERED),
        (OFFERED, "permessage-deflate; server_max_window_bits=10", PerMessageDeflate(server_max_window_bits=10)),
        (OFFERED, "permessage-deflate; server_max_window_bits=8", PerMessageDeflate(server_max_window_bits=9)),
        (
            OFFERED,
            "permessage-deflate; server_no_context_takeover",
            PerMessageDeflate(server_no_context_takeover=True),
        ),
        (
            OFFERED,
            "permessage-deflate; client_no_context_takeover",
            PerMessageDeflate(client_no_context_takeover=True),
        ),
        (WIDE, "permessage-deflate; client_max_window_bits=15", WIDE),
        (NARROW, "permessage-deflate; server_max_window_bits=10", NARROW),
        (
            NARROW,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
            PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9),
        ),
        (ALONE, "permessage-deflate; server_no_context_takeover", ALONE),
        (ALONE, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", ALONE),
    ],
)
def test_an_answer_that_fits(offered: PerMessageDeflate, answer: str, agreed: PerMessageDeflate) -> None:
    """What it does not say stays as it was offered, or is the default."""
    assert accept(offered, answer) == agreed


@pytest.mark.parametrize(
    ("offered", "answer", "named"),
    [
        (OFFERED, "", "has no extension"),
        (OFFERED, ";", "has no extension"),
        (OFFERED, "x-webkit-deflate-frame", "x-webkit-deflate-frame, which was not offered"),
        (OFFERED, "Permessage-Deflate", "Permessage-Deflate, which was not offered"),
        (OFFERED, "permessage-deflate, permessage-deflate", "chooses permessage-deflate twice"),
        (OFFERED, "permessage-deflate,permessage-deflate", "chooses permessage-deflate twice"),
        (OFFERED, "permessage-deflate, permessage-bzip2", "permessage-bzip2"),
        (OFFERED, "permessage-deflate, (", "another extension"),
        (OFFERED, "permessage-deflate; =1", "malformed"),
        (OFFERED, "permessage-deflate;", "malformed"),
        (OFFERED, 'permessage-deflate; server_max_window_bits="1', "malformed"),
        (OFFERED, "permessage-deflate; level=3", "has level, which is no parameter"),
        (OFFERED, "permessage-deflate; Server_max_window_bits=9", "has Server_max_window_bits"),
        (OFFERED, "permessage-deflate; server_no_context_takeover=1", "gives server_no_context_takeover a value, '1'"),
        (OFFERED, 'permessage-deflate; client_no_context_takeover=""', "gives client_no_context_takeover a value, ''"),
        (OFFERED, "permessage-deflate; server_max_window_bits", "gives server_max_window_bits no value"),
        (OFFERED, "permessage-deflate; client_max_window_bits", "gives client_max_window_bits no value"),
        (OFFERED, "permessage-deflate; server_max_window_bits=7", "gives server_max_window_bits '7'"),
        (OFFERED, "permessage-deflate; server_max_window_bits=16", "gives server_max_window_bits '16'"),
        (OFFERED, "permessage-deflate; server_max_window_bits=09", "gives server_max_window_bits '09'"),
        (OFFERED, "permessage-deflate; server_max_window_bits=+9", "gives server_max_window_bits '+9'"),
        (OFFERED, 'permessage-deflate; server_max_window_bits=" 9"', "gives server_max_window_bits ' 9'"),
        (OFFERED, "permessage-deflate; client_max_window_bits=13", "client_max_window_bits 13, more than the 12"),
        (OFFERED, "permessage-deflate; client_max_window_bits=8", "client_max_window_bits 8, of which zlib cannot"),
        (OFFERED, "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", "repeats server_max"),
        (
            OFFERED,
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "repeats client_no_context_takeover",
        ),
        (NARROW, "permessage-deflate", "lacks server_max_window_bits"),
        (NARROW, "permessage-deflate; server_max_window_bits=11", "server_max_window_bits 11, more than the 10"),
        (ALONE, "permessage-deflate", "lacks server_no_context_takeover"),
    ],
)
def test_an_answer_that_does_not_fit(offered: PerMessageDeflate, answer: str, named: str) -> None:
    """It is refused, and what is wrong is named."""
    with pytest.raises(InvalidExtensionError) as caught:
        accept(offered, answer)
    assert named in str(caught.value)


@given(
    st.builds(
        PerMessageDeflate,
        server_max_window_bits=st.integers(9, 15),
        client_max_window_bits=st.integers(9, 15),
        server_no_context_takeover=st.booleans(),
        client_no_context_takeover=st.booleans(),
    ),
    st.lists(
        st.sampled_from(
            [
                *("server_no_context_takeover", "client_no_context_takeover", "server_no_context_takeover=1"),
                *(f"{side}_max_window_bits={bits}" for side in ("server", "client") for bits in range(7, 17)),
                *("client_max_window_bits", "server_max_window_bits", "other"),
            ]
        ),
        max_size=4,
    ),
)
def test_answers_are_judged_as_websockets_does(offered: PerMessageDeflate, parameters: list[str]) -> None:
    """The same are refused; only a window of 8 for this side is not, there, until the first message."""
    factory = ClientPerMessageDeflateFactory(
        offered.server_no_context_takeover,
        offered.client_no_context_takeover,
        None if offered.server_max_window_bits == 15 else offered.server_max_window_bits,
        True if offered.client_max_window_bits == 15 else offered.client_max_window_bits,
    )
    answer = "; ".join(["permessage-deflate", *parameters])
    ((_, parsed),) = parse_extension(answer)
    try:
        expected = factory.process_response_params(parsed, [])
    except NegotiationError:
        with pytest.raises(InvalidExtensionError):
            accept(offered, answer)
        return
    if "client_max_window_bits=8" in parameters:
        with pytest.raises(InvalidExtensionError):
            accept(offered, answer)
        return
    agreed = accept(offered, answer)
    assert agreed.server_no_context_takeover == expected.remote_no_context_takeover
    assert agreed.client_no_context_takeover == expected.local_no_context_takeover
    assert agreed.server_max_window_bits == max(expected.remote_max_window_bits, 9)
    assert agreed.client_max_window_bits == expected.local_max_window_bits


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        *(
            (f"{side}_max_window_bits", value, "from 9 to 15")
            for side in ("server", "client")
            for value in (7, 16, 9.0)
        ),
        *((f"{side}_max_window_bits", 8, "zlib cannot make a raw stream") for side in ("server", "client")),
        *(
            (f"{side}_no_context_takeover", value, "True or False")
            for side in ("server", "client")
            for value in (1, None)
        ),
        *(("level", value, "from 1 to 9") for value in (0, 10, -1, True, "6")),
        *(("memory_level", value, "from 1 to 9") for value in (0, 10, None)),
        *(("threshold", value, "0 or more") for value in (-1, 1.5, True)),
    ],
)
def test_a_field_that_breaks_its_rule(field: str, value: object, rule: str) -> None:
    """It is refused at once, with its name."""
    with pytest.raises(InvalidOptionsError, match=rule) as caught:
        PerMessageDeflate(**{field: value})  # type: ignore[arg-type]
    assert caught.value.argument == field
