"""The pytest plugin, as a user's tests meet it: nearly each of these is a run of pytest of its own."""

from __future__ import annotations

import importlib.util
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from trio_socket_task.testing import _plugin

pytest_plugins = ["pytester"]

LEAKY = """
    import weakref
    import pytest
    import trio
    from trio_socket_task import connect_socket, open_socket_manager

    OF_NOTHING = weakref.proxy(set())  # what somebody's library may have in memory

    @pytest.fixture
    async def application(memory_socket_server):
        async with open_socket_manager(dial=memory_socket_server.dial) as manager:
            yield manager

    @pytest.mark.trio
    async def test_leaky(no_socket_leaks, application):
        task = application.connect_socket("ws://left.test/behind")
        await task.wait_open()
        global kept
        kept = task.on_message(), task.on_message(), task.on_close(), application.on_socket_open()

    @pytest.fixture
    async def chat(application):
        async with connect_socket("ws://fixture.test/", manager=application) as task:
            yield task

    @pytest.mark.trio
    async def test_a_fixtures_own_block(no_socket_leaks, chat):
        await chat.send("still there")

    @pytest.fixture
    async def logged_in(application):
        task = application.connect_socket("ws://of-the-fixture.test/")
        await task.wait_open()

    @pytest.mark.trio
    @pytest.mark.usefixtures("no_socket_leaks")
    async def test_leaky_by_usefixtures(application, logged_in):
        await application.connect_socket("ws://left.test/again").wait_open()

    @pytest.mark.trio
    async def test_what_the_nursery_holds(no_socket_leaks, nursery, memory_socket_server):
        async def run(task_status):
            async with open_socket_manager(dial=memory_socket_server.dial) as manager:
                await manager.connect_socket("ws://nursery.test/").wait_open()
                task_status.started()
                await trio.sleep_forever()

        await nursery.start(run)

    @pytest.mark.usefixtures("no_socket_leaks")
    def test_that_is_not_async():
        pass

    @pytest.mark.trio
    async def test_clean(no_socket_leaks, application):
        task = application.connect_socket("ws://closed.test/")
        await task.wait_open()
        async with application.on_socket_close() as closes:
            task.close()
            await closes.receive()
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a project of its own."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def test_a_leak_fails_the_test_and_is_named(project: pytest.Pytester) -> None:
    """The socket, its listeners, and those of the manager."""
    project.makepyfile(LEAKY)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*LeakError: the test left behind:*",
            "*  1 x the socket to ws://left.test/behind and its task, in a manager that lives on*",
            "*  2 x a listener on_message() of the socket to ws://left.test/behind*",
            "*  1 x a listener on_close() of the socket to ws://left.test/behind*",
            "*  1 x a listener on_socket_open() of a manager that lives on*",
            "*  1 x the socket to ws://left.test/again and its task, in a manager that lives on*",
            "*close it in the test*",
        ]
    )
    assert "of-the-fixture" not in result.stdout.str()


def load_plugin() -> ModuleType:
    """Import the plugin once more, beside the one that pytest has."""
    spec = spec_from_file_location(f"{_plugin.__package__}.again", _plugin.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_pytest_trio_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fixture, and no error."""
    assert hasattr(load_plugin(), "socket_manager")
    monkeypatch.setattr(importlib.util, "find_spec", {"pytest_trio": None}.__getitem__)
    assert not [name for name in vars(load_plugin()) if "socket" in name or name.startswith("pytest")]


def test_the_fixtures(project: pytest.Pytester) -> None:
    """Each does what it says, in a user's own words."""
    project.makepyfile(
        """
        import pytest, trio
        from trio_socket_task import connect_socket
        from trio_socket_task.testing import Script, assert_closed

        pytestmark = pytest.mark.trio

        async def test_socket_server(socket_server):
            async with connect_socket(socket_server.url) as task:
                await task.send("real")
                assert await task.receive() == "real"

        async def test_memory_socket_server(autojump_clock, memory_socket_server):
            memory_socket_server.handler = Script().sleep(3600).close(4000)
            async with connect_socket("ws://a.test/", dial=memory_socket_server.dial) as task:
                await assert_closed(task, 4000, within=4000)

        async def test_socket_manager(autojump_clock, socket_manager, memory_socket_server):
            task = socket_manager.connect_socket("ws://somewhere.test/room")
            await task.wait_open()
            assert memory_socket_server.connections[0].path == "/room"

        async def test_mini_program(autojump_clock, mini_program):
            heard = []
            task = mini_program.connectSocket({"url": "ws://phone.test/"})
            task.onOpen(lambda res: task.send({"data": "hello"}))
            task.onMessage(lambda res: (heard.append(res), task.close()))
            await mini_program.wait_closed()
            assert heard == [{"data": "hello"}]

        @pytest.mark.parametrize("mini_program", ["qq"], indirect=True)
        async def test_qq(autojump_clock, mini_program):
            await mini_program.wait_closed()

        async def test_a_scripts_failure_fails_the_test(autojump_clock, socket_manager, memory_socket_server):
            memory_socket_server.handler = Script().expect("this")
            task = socket_manager.connect_socket("ws://a.test/")
            await task.wait_open()
            await task.send("that")
            await trio.sleep(1)
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines_random(["*ScriptError: the client did not follow the script at step 1 of 1:*"])


def test_what_a_test_drops_or_a_fixture_owns_is_no_leak_and_what_a_fixtures_task_opens_is(
    project: pytest.Pytester,
) -> None:
    """Dropped listeners detach; a task of a fixture's nursery outlives the test."""
    project.makepyfile(
        """
        import pytest, trio
        from trio_socket_task import connect_socket, open_resilient_socket, open_socket_manager
        from trio_socket_task.testing import collect

        pytestmark = [pytest.mark.trio, pytest.mark.usefixtures("no_socket_leaks")]

        @pytest.fixture
        async def background():
            async with trio.open_nursery() as nursery:
                yield nursery
                nursery.cancel_scope.cancel()

        @pytest.fixture
        async def chat(socket_manager):
            async with connect_socket("ws://fixture.test/", manager=socket_manager) as task:
                yield task

        @pytest.fixture
        async def resilient(memory_socket_server):
            async with open_resilient_socket("ws://a.test/", dial=memory_socket_server.dial) as socket:
                await socket.wait_connected()
                yield socket

        async def test_dropped(chat):
            await chat.send("hello")
            await collect(chat.on_message(), 1)

        async def test_reconnected(resilient):
            resilient.reconnect()
            await resilient.send("hello")
            assert await resilient.receive() == "hello"

        async def hold(manager, task_status):
            async with connect_socket("ws://held.test/", manager=manager):
                task_status.started()
                await trio.sleep_forever()

        async def test_leaky_task(background, socket_manager):
            await background.start(hold, socket_manager)

        async def test_leaky_task_of_the_default_manager(background, memory_socket_server):
            async def hold(task_status):
                async with connect_socket("ws://held.test/", dial=memory_socket_server.dial):
                    task_status.started()
                    await trio.sleep_forever()
            await background.start(hold)

        async def test_leaky_listener(chat):
            global kept
            kept = chat.on_message()

        async def test_leaky_close(socket_manager):
            task = socket_manager.connect_socket("ws://closing.test/")
            await task.wait_open()
            task.close()
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=2, failed=4)
    result.stdout.fnmatch_lines(
        [
            "*1 x the socket to ws://held.test/, OPEN, in a block that lives on*",
            "*1 x the socket to ws://held.test/, OPEN, in a block that lives on*",
            "*1 x a listener on_message() of the socket to ws://fixture.test/*",
            "*ws://closing.test/ and its task, which is still closing: `await task.aclose()`, in a manager*",
        ]
    )


def test_a_test_that_fails_or_skips_owes_no_script(project: pytest.Pytester) -> None:
    """Its own outcome is the only one."""
    project.makepyfile(
        """
        import pytest
        from trio_socket_task.testing import Script

        pytestmark = pytest.mark.trio

        async def test_skipped(memory_socket_server):
            memory_socket_server.handler = Script().expect("this")
            pytest.skip("not today")

        async def test_failed(memory_socket_server):
            memory_socket_server.handler = Script().expect("this")
            assert False, "a reason of its own"
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(skipped=1, failed=1)
    assert "ScriptError" not in result.stdout.str()


def test_a_test_on_another_loop_is_left_alone(project: pytest.Pytester) -> None:
    """An autouse fixture meets them all."""
    project.makeconftest(
        """
        import asyncio
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            asyncio.run(pyfuncitem.obj())
            return True
        """
    )
    project.makepyfile(
        """
        import pytest

        @pytest.mark.usefixtures("no_socket_leaks")
        async def test_on_asyncio():
            pass
        """
    )
    project.runpytest_inprocess("-p", "no:trio").assert_outcomes(passed=1)


@pytest.mark.needs("javascript")
def test_the_fixture_javascript(project: pytest.Pytester) -> None:
    """It reaches the server in memory; what a script throws fails its test, unless it is taken out."""
    project.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.trio
        CHAT = "const task = wx.connectSocket({ url: 'wss://a.test/x' }); task.onOpen(() => task.close())"

        async def test_it_runs(autojump_clock, javascript, memory_socket_server):
            await javascript.run(source=CHAT)
            await javascript.wait_idle()
            assert memory_socket_server.connections[0].path == "/x"
            assert javascript.evaluate("new Date().getFullYear()") in (2025, 2026)

        async def test_it_throws(autojump_clock, javascript):
            await javascript.run(source="throw new Error('nobody caught this')")

        async def test_it_is_expected_to_throw(autojump_clock, javascript):
            await javascript.run(source="throw new Error('this one')")
            assert "this one" in javascript.errors.pop().message

        @pytest.mark.parametrize("javascript", [{"vendor": "qq", "strict": True}], indirect=True)
        async def test_options(autojump_clock, javascript):
            assert javascript.evaluate("typeof qq + typeof wx") == "objectundefined"
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines_random(["*JavaScriptError: Error: nobody caught this*"])
