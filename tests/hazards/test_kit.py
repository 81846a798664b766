"""Hazard V6: what `no_socket_leaks` finds, and that no other plugin adopts the fixtures.

Ids such as V6 are rows of the tables in `docs/explanation/reliability.md`. `nox -s plugins` shows the latter with
others installed.
"""

from __future__ import annotations

import inspect

import pytest

from trio_socket_task.testing import _fixtures

pytest_plugins = ["pytester"]

FIXTURES = """
    import pytest
    import trio
    from trio_socket_task import Coexist, connect_socket, open_resilient_socket, open_socket_manager
    from trio_socket_task.miniprogram import open_mini_program
    from trio_socket_task.testing import Script

    @pytest.fixture(autouse=True)
    def watch(no_socket_leaks):
        pass

    @pytest.fixture
    async def background():
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()

    @pytest.fixture
    def keep(background):
        \"\"\"Give a function that enters a block in a task that outlives the test.\"\"\"
        async def enter(block, task_status):
            async with block as entered:
                task_status.started(entered)
                await trio.sleep_forever()

        return lambda block: background.start(enter, block)
"""
LEAKS = """
    import trio
    from trio_socket_task import Coexist, ConnectionState, connect_socket, open_resilient_socket, open_socket_manager
    from trio_socket_task.miniprogram import open_mini_program
    from trio_socket_task.testing import Script, collect

    URL = "ws://user.test/room?token=SECRET"

    async def state(socket, wanted):
        async with socket.on_state() as states:
            async for event in states:
                if event.state is wanted:
                    return

    async def test_between_attempts(autojump_clock, keep, memory_socket_server):
        memory_socket_server.handler = Script().reject(503)
        socket = await keep(open_resilient_socket(URL, dial=memory_socket_server.dial))
        await state(socket, ConnectionState.WAITING)

    async def test_connected(autojump_clock, keep, memory_socket_server):
        socket = await keep(open_resilient_socket(URL, dial=memory_socket_server.dial))
        await socket.wait_connected()

    async def test_waiting_for_room(autojump_clock, keep, memory_socket_server):
        full = await keep(open_socket_manager(Coexist(1), dial=memory_socket_server.dial))
        await full.connect_socket(URL).wait_open()
        socket = await keep(open_resilient_socket(URL, manager=full))
        await state(socket, ConnectionState.WAITING)

    async def test_in_its_target(autojump_clock, keep):
        async def target():
            await trio.sleep_forever()
        await keep(open_resilient_socket(target))
        await trio.sleep(1)

    async def test_in_on_connected(autojump_clock, keep, memory_socket_server):
        async def greet(task):
            await trio.sleep_forever()
        await keep(open_resilient_socket(URL, dial=memory_socket_server.dial, on_connected=greet))
        await trio.sleep(1)

    async def test_stopped(autojump_clock, keep, memory_socket_server):
        socket = await keep(open_resilient_socket(URL, dial=memory_socket_server.dial))
        await socket.wait_connected()
        await socket.aclose()

    async def test_connecting(autojump_clock, background, memory_socket_server):
        async def never(host, port):
            await trio.sleep_forever()

        async def connect():
            async with connect_socket(URL, dial=never):
                pass
        background.start_soon(connect)
        await trio.sleep(1)

    async def test_closed(autojump_clock, keep, memory_socket_server):
        task = await keep(connect_socket(URL, dial=memory_socket_server.dial))
        await task.aclose()

    async def test_mini_program(autojump_clock, keep, memory_socket_server):
        wx = await keep(open_mini_program("wx", dial=memory_socket_server.dial))
        wx.connectSocket({"url": URL})

    async def test_manager(autojump_clock, keep):
        await keep(open_socket_manager())
"""
NAMED = [
    "*1 x the resilient socket to ws://user.test/room[?][*][*][*], WAITING, in a block that lives on",
    "*1 x the resilient socket to ws://user.test/room[?][*][*][*], CONNECTED, in a block that lives on",
    "*1 x the resilient socket to ws://user.test/room[?][*][*][*], WAITING, in a block that lives on",
    "*1 x the resilient socket to what its target gives, CONNECTING, in a block that lives on",
    "*1 x the resilient socket to ws://user.test/room[?][*][*][*], CONNECTING, in a block that lives on",
    "*1 x the resilient socket to ws://user.test/room[?][*][*][*], STOPPED, in a block that lives on",
    "*1 x the socket to ws://user.test/room[?][*][*][*], CONNECTING, in a block that lives on",
    "*1 x the socket to ws://user.test/room[?][*][*][*], CLOSED, in a block that lives on",
    "*1 x a mini program, in a block that lives on",
    "*1 x a manager whose block lives on",
]
OF_FIXTURES = """
    import pytest
    from trio_socket_task import open_resilient_socket

    @pytest.fixture
    async def resilient(memory_socket_server):
        async with open_resilient_socket("ws://fixture.test/", dial=memory_socket_server.dial) as socket:
            yield socket

    @pytest.fixture
    async def connected(resilient):
        await resilient.wait_connected()
        return resilient

    async def test_begins_to_connect(resilient, mini_program):
        await resilient.wait_connected()
        resilient.on_state()

    async def test_stops(connected):
        await connected.aclose()

    async def test_leaves_listeners(connected):
        global kept
        kept = connected.on_state(), connected.on_undelivered(), connected.on_undelivered()
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a project of its own."""
    pytester.makeini("[pytest]\nfilterwarnings = error\ntrio_mode = true\n")
    pytester.makeconftest(FIXTURES)
    return pytester


def test_v6_no_socket_leaks_finds_every_block_that_lives_on(project: pytest.Pytester) -> None:
    """Whatever a socket is doing, or has done, it is named; its secrets are not."""
    project.makepyfile(LEAKS)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=len(NAMED))
    result.stdout.fnmatch_lines(NAMED)
    named = [line for line in result.stdout.lines if " 1 x " in line]
    assert len(named) >= len(NAMED)
    assert "SECRET" not in "".join(named)


def test_v6_what_fixtures_own_is_no_leak_and_listeners_of_it_are(project: pytest.Pytester) -> None:
    """A resilient socket of a fixture may come to any state; listeners of it are to be closed."""
    project.makepyfile(OF_FIXTURES)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*1 x a listener on_state() of the resilient socket to ws://fixture.test/",
            "*2 x a listener on_undelivered() of the resilient socket to ws://fixture.test/",
        ]
    )


@pytest.mark.parametrize("name", ["socket_server", "memory_socket_server", "socket_manager", "mini_program"])
def test_v6_fixtures_are_no_async_functions(name: str, request: pytest.FixtureRequest) -> None:
    """By that, other plugins would take them for their own."""
    assert inspect.isfunction(function := inspect.unwrap(getattr(_fixtures, name)))
    assert not inspect.iscoroutinefunction(function)
    assert not inspect.isasyncgenfunction(function)


def test_v6_a_test_that_is_not_on_trio_is_told_what_the_fixtures_need(project: pytest.Pytester) -> None:
    """It does not get a generator that nobody runs, and the tests after it are not disturbed."""
    project.makepyfile(
        """
        def test_plain(memory_socket_server): pass
        def test_with_a_manager(socket_manager): pass
        async def test_on_trio(memory_socket_server, socket_manager): pass
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(["*test_plain asks for a fixture that runs on Trio, and does not*pytest.mark.trio*"])
