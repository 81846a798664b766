"""The talker against a server in memory, in virtual time."""

import pytest
from step5 import talk

from trio_socket_task import Backoff, GaveUpError
from trio_socket_task.testing import Script, in_turn

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


def joined():
    return Script().expect("join").send("welcome")


async def test_it_joins_and_talks(autojump_clock, memory_socket_server, capsys):
    memory_socket_server.handler = joined().expect("line 1").send("good morning").expect_close(1000, "all is said")
    await talk(memory_socket_server.url, lines=1, dial=memory_socket_server.dial)
    assert "heard: good morning" in capsys.readouterr().out


async def test_what_is_said_during_a_restart_comes_later(autojump_clock, memory_socket_server, capsys):
    memory_socket_server.handler = in_turn(
        joined().expect("line 1").sleep(0.5).drop(),
        Script().reject(503),
        joined().expect("line 2").expect("line 3").expect_close(1000),
    )
    slow = Backoff(initial=5, random=lambda: 1)
    await talk(memory_socket_server.url, lines=3, backoff=slow, dial=memory_socket_server.dial)
    assert "waiting: the connection was lost" in capsys.readouterr().out


async def test_what_a_silent_server_has_not_read_is_said_again(autojump_clock, memory_socket_server):
    memory_socket_server.handler = in_turn(
        joined().stall(),
        joined().expect("line 1").expect("line 2").expect_close(1000),
    )
    await talk(memory_socket_server.url, lines=2, dial=memory_socket_server.dial)


async def test_it_gives_up_where_it_is_not_welcome(autojump_clock, memory_socket_server):
    memory_socket_server.handler = Script().reject(403)
    with pytest.raises(ExceptionGroup) as caught:
        await talk(memory_socket_server.url, dial=memory_socket_server.dial)
    assert caught.group_contains(GaveUpError, match="403")
