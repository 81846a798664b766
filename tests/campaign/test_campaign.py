"""The campaign itself: a few seeds of each part, each the same when it is run again, and planted faults are found."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from campaign import seeded
from campaign.__main__ import main
from campaign.findings import Findings
from campaign.ledger import Ledger
from campaign.proofs import Proof
from campaign.runner import PARTS, plan_jobs, run_one
from campaign.seeded import run_seeded
from campaign.wires import End

from trio_socket_task import ResilientSocket, SocketTask
from trio_socket_task._protocol._deflate import Deflater
from trio_socket_task._resilient._sender import Sender
from trio_socket_task.miniprogram import SocketTask as DialectTask

pytestmark = [pytest.mark.once, pytest.mark.needs("alarm")]


def finds(part: str, *problems: str) -> bool:
    """Whether one of the first seeds has such problems."""
    left = set(problems)
    for seed in range(100):
        found = "\n".join(run_one(part, seed).problems)
        left = {problem for problem in left if problem not in found}
        if not left:
            return True
    return False


@pytest.mark.parametrize("part", PARTS)
def test_a_handful_of_seeds_is_good(part: str) -> None:
    """Nothing is wrong, and something happened."""
    for seed in range(6):
        findings = run_one(part, seed)
        assert not findings.problems, f"{part} seed {seed}"
        assert findings.trace


@pytest.mark.parametrize(("part", "seed"), [("a", 3), ("a", 8), ("c", 0), ("d", 4)])
def test_a_seed_shows_the_same_again(part: str, seed: int) -> None:
    """What happens in virtual time comes from the seed, to the last step."""
    assert run_one(part, seed).trace == run_one(part, seed).trace


@pytest.mark.needs("cpython")
def test_programs_wait_until_everything_is_delivered() -> None:
    """Some of them live so long, by whatever proof."""
    figures = sum((run_one("a", seed).figures for seed in range(120)), start=Counter[str]())
    assert figures["drained"] > 2
    assert sum(name.startswith("delivered by ") for name in figures) == 4


# Planted faults


def test_a_message_read_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without resend each message is read at most once."""
    read = Ledger.read

    def read_twice(self: Ledger, connection: int, data: str | bytes) -> None:
        read(self, connection, data)
        read(self, connection, data)

    monkeypatch.setattr(Ledger, "read", read_twice)
    assert finds("a", "was read twice, without resend")


@pytest.mark.parametrize("part", ["a", "c"])
def test_a_message_that_was_compressed_and_not_sent_is_found(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a send that is cancelled in between: what follows refers to what the server has never had."""
    deflate = Deflater.deflate

    def deflate_twice(self: Deflater, data: bytes | memoryview, *, ends: bool) -> bytes:
        if len(data) % 3 == 0:
            deflate(self, data, ends=ends)
        return deflate(self, data, ends=ends)

    monkeypatch.setattr(Deflater, "deflate", deflate_twice)
    assert finds(part, "Error -3 while decompressing data")


def test_a_peer_that_lies_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers pings, and counts nothing as read, makes the socket count what nothing proves."""
    monkeypatch.setattr(Proof, "on_read", lambda _self, _name, _proved: None)
    assert finds(
        "a", "counts as delivered, and a pong does not prove it", "more counted as delivered than a pong proves"
    )


@pytest.mark.parametrize(
    ("owner", "name", "wrong"),
    [
        (Proof, "on_written", "counts as delivered, and being written does not prove it"),
        (Proof, "on_acknowledged", "counts as delivered, and an acknowledgement does not prove it"),
        (Sender, "on_messages", "was reported as stopped, after an acknowledgement"),
    ],
)
def test_a_proof_that_is_missed_or_made_up_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, wrong: str
) -> None:
    """What proves delivery counts, and nothing else does, by whatever the outbox takes for a proof."""
    monkeypatch.setattr(owner, name, lambda *_arguments: None)
    assert finds("a", wrong)


def test_a_message_queued_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the outbox add up to what it has accepted."""
    send = ResilientSocket.send

    async def send_twice(self: ResilientSocket, data: str | bytes) -> None:
        await send(self, data)
        with suppress(Exception):
            await send(self, data)

    monkeypatch.setattr(ResilientSocket, "send", send_twice)
    assert finds("a", "accepted is not delivered + undelivered + waiting + unconfirmed")


def test_a_connection_that_is_left_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client closes every stream that it was given."""
    monkeypatch.setattr(End, "aclose", lambda _self: trio.lowlevel.checkpoint())
    assert finds("a", "was not closed by the client")


def test_a_close_that_is_not_heard_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked to close stops within its bound."""
    monkeypatch.setattr(ResilientSocket, "close", lambda _self, _code=1000, _reason="": None)
    assert finds("a", "it goes on after it was closed")


def test_a_message_that_is_damaged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is received whole or not at all."""
    receive = SocketTask.receive

    async def cut(self: SocketTask) -> str | bytes:
        return (await receive(self))[:-1]

    monkeypatch.setattr(SocketTask, "receive", cut)
    assert finds("b", "received ['firs'")


def test_a_message_that_is_skipped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing between the first message and the last."""
    receive = SocketTask.receive

    async def skip(self: SocketTask) -> str | bytes:
        await receive(self)
        return await receive(self)

    monkeypatch.setattr(SocketTask, "receive", skip)
    assert finds("c", "a reader missed a message")


def test_a_message_that_is_not_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What send accepts is read by the server."""
    send, count = SocketTask.send, 0

    async def forget_some(self: SocketTask, data: str | bytes) -> None:
        nonlocal count
        count += 1
        await (send(self, data) if count % 5 else trio.lowlevel.checkpoint())

    monkeypatch.setattr(SocketTask, "send", forget_some)
    assert finds("c", "the server missed a message in the middle", "messages_sent is not what send accepted")


def test_a_vendor_function_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dialect raises nothing."""
    monkeypatch.setattr(DialectTask, "close", property())
    monkeypatch.setattr(DialectTask, "send", lambda _self, _options=None, **_keywords: 1 / 0)
    assert finds("d", "sendSocketMessage raised ZeroDivisionError")


def test_a_callback_at_the_wrong_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No callback is called inside the call that it belongs to, or twice."""
    send = DialectTask.send

    def send_and_tell(self: DialectTask, options: object = None, **keywords: object) -> object:
        success = keywords.get("success")
        if callable(success):
            success({"errMsg": "sendSocketMessage:ok"})
        return send(self, options, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(DialectTask, "send", send_and_tell)
    assert finds("d", "success was called inside a call", "success of sendSocketMessage was called twice")


def run_main(main: Callable[[], object]) -> list[str]:
    """Run something by seed, and give what was wrong."""

    async def wrapped(_dice: random.Random, _findings: Findings) -> None:
        main()
        await trio.lowlevel.checkpoint()

    findings = Findings("a", 0)
    run_seeded(wrapped, findings, virtual=True)
    return findings.problems


def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    """A run leaves no task and no descriptor."""
    left: list[object] = []
    assert run_main(lambda: trio.lowlevel.spawn_system_task(trio.sleep_forever)) == ["1 tasks are left"]
    found = run_main(lambda: left.append((tmp_path / "x").open("w")))
    assert found == (["1 file descriptors are left"] if sys.platform == "linux" else [])
    left.pop().close()  # type: ignore[attr-defined]


def test_what_raises_or_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends by itself, without an exception."""
    assert run_main(lambda: 1 / 0) == ["the run ended with ZeroDivisionError: division by zero"]
    monkeypatch.setattr(seeded, "PATIENCE", 0.01)

    def spin() -> None:
        while True:
            pass

    (found,) = run_main(spin)
    assert "HungError" in found


# The command line


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the campaign's command line."""
    monkeypatch.setattr(sys, "argv", ["campaign", *arguments])
    return main()


@pytest.mark.needs("cpython")  # elsewhere it meets what earlier tests have left to the collector
def test_good_seeds_give_counts_and_exit_code_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end prints runs, bad ones and totals of each part."""
    assert run_command(monkeypatch, "--part", "b", "--seeds", "3", "--jobs", "1") == 0
    output = capsys.readouterr().out
    assert "3 runs, 0 bad" in output
    assert "3 cut" in output


def test_bad_seeds_give_the_command_that_shows_them_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure prints the part, the seed, what was wrong, and one command; the trace on demand."""
    monkeypatch.setattr(Proof, "on_read", lambda _self, _name, _proved: None)
    assert run_command(monkeypatch, "--part", "a", "--seeds", "10", "--jobs", "1", "--seconds", "60") == 1
    lines = capsys.readouterr().out.splitlines()
    again = next(line for line in lines if "again: nox -s campaign -- " in line).split(" -- ")[1].split()
    assert run_command(monkeypatch, *again) == 1
    output = capsys.readouterr().out
    assert "pong does not prove it" in output
    assert "WRONG" in output


def test_time_that_is_up_stops_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What has been seen by then is reported."""
    assert run_command(monkeypatch, "--part", "b", "--seeds", "1000", "--jobs", "1", "--seconds", "0") == 0
    assert "1 runs of 1000, 0 bad" in capsys.readouterr().out


def test_parts_are_mixed_in_proportion() -> None:
    """A run that is stopped early has seen something of each part."""
    jobs = plan_jobs("abcd", 1000, first=5)
    numbers = {part: sum(job[0] == part for job in jobs) for part in "abcd"}
    assert numbers == {"a": 1000, "b": 1368, "c": 500, "d": 200}
    assert {part for part, _ in jobs[:20]} == set("abcd")
    assert min(seed for _, seed in jobs) == 5
