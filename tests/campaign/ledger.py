"""Every message of a resilient socket, seen from both ends: what became of it, and whether that may be."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import final

import attrs

from trio_socket_task import ResilientStatistics, UndeliveredEvent

from .findings import Findings
from .proofs import Proof, has_id
from .server import is_whole, name_of


@final
@attrs.define(eq=False)
class Ledger:
    """What was sent, read, reported and counted."""

    findings: Findings
    resends: bool
    has_outbox: bool
    proof: Proof
    trusts_written: bool
    """Whether what was written counts as read: by the kit's servers, which read more than their handlers see."""
    fates: dict[str, str] = attrs.field(factory=dict)
    """What became of each call of send: "offered" while it lasts, then "accepted", "refused" or "cancelled"."""
    accepted: dict[str, int] = attrs.field(factory=dict)
    """Those that were accepted, in order, each with its place."""
    reports: dict[str, str] = attrs.field(factory=dict)
    """Those that were reported, each with the reason."""
    reads: list[tuple[int, str]] = attrs.field(factory=list)
    """What servers have read, each with its connection."""
    proved: set[str] = attrs.field(factory=set)
    """Those that may be counted as delivered, by what proves it."""
    greetings: set[str] = attrs.field(factory=set)
    """What ``on_connected`` sends past the outbox."""
    _seen: Counter[str] = attrs.field(factory=Counter)
    _latest: ResilientStatistics | None = None

    def offer(self, name: str) -> None:
        """Note that a message is given to send."""
        self.findings.note(f"send {name}")
        self.fates[name] = "offered"

    def settle(self, name: str, fate: str, why: str = "") -> None:
        """Note how that call ended."""
        self.findings.note(f"send {name}: {fate} {why}")
        self.fates[name] = fate
        if fate == "accepted":
            self.accepted[name] = len(self.accepted)

    def read(self, connection: int, data: str | bytes) -> None:
        """Note that a server has read a message."""
        name = name_of(data)
        self.findings.note(f"server {connection} reads {name}")
        self.findings.check(is_whole(data), f"{name} came damaged")
        if name in self.greetings:
            return
        fate = self.fates.get(name)
        # A server may read a message in the step in which it is written, before the caller of send can note it.
        self.findings.check(fate in ("accepted", "offered"), f"{name} was read although its send was {fate}")
        self.reads.append((connection, name))
        self._seen[name] += 1
        self.proof.on_read(name, self.proved)
        if not self.resends:
            self.findings.check(self._seen[name] == 1, f"{name} was read twice, without resend")

    def written(self, data: str | bytes) -> None:
        """Note that a message was written whole."""
        name = name_of(data)
        self.proof.on_written(name, self.proved)
        if self.trusts_written:
            self.proof.on_read(name, self.proved)

    def acknowledge(self, name: str) -> None:
        """Note that a server is about to acknowledge a message."""
        self.findings.note(f"acknowledgement of {name}")
        if name not in self.greetings:
            # One that its caller has not noted yet is the latest of all.
            place = self.accepted.get(name, len(self.accepted))
            before = {other for other, its in self.accepted.items() if its < place}
            self.proof.on_acknowledged(name, before, self.proved)

    def report(self, event: UndeliveredEvent) -> None:
        """Note that a message was reported as undelivered."""
        name = name_of(event.data)
        self.findings.note(f"reported {name}: {event.why}")
        self.findings.check(name not in self.reports, f"{name} was reported twice")
        self.findings.check(name in self.accepted, f"{name} was reported, and never accepted")
        self.reports[name] = event.why

    def look(self, figures: ResilientStatistics) -> None:
        """Check a snapshot of the socket's figures."""
        check, proved = self.findings.check, len(self.proved)
        if self.has_outbox:
            total = figures.delivered + figures.undelivered + figures.waiting + figures.unconfirmed
            check(total == len(self.accepted), "accepted is not delivered + undelivered + waiting + unconfirmed")
        else:
            check(figures.delivered == figures.undelivered == 0, "figures of an outbox without one")
        check(figures.delivered <= proved, f"more counted as delivered than {self.proof.name} proves")
        check(figures.generation <= figures.attempts, "more connections than attempts")
        latest = self._latest
        if latest is not None:
            for name in ("attempts", "generation", "delivered", "undelivered"):
                check(getattr(latest, name) <= getattr(figures, name), f"statistics: {name} went down")
            for name in ("messages_sent", "messages_received", "bytes_sent", "bytes_received"):
                check(getattr(latest.sockets, name) <= getattr(figures.sockets, name), f"statistics: {name} went down")
        self._latest = figures

    def close(self, figures: ResilientStatistics, *, has_drained: bool, acknowledged: set[str]) -> None:
        """Check that everything is accounted for, once the socket has stopped."""
        self.look(figures)
        check = self.findings.check
        self._check_order()
        if not self.has_outbox:
            return
        check(figures.waiting == figures.unconfirmed == figures.outbox_bytes == 0, "the outbox of the end is not empty")
        check(figures.undelivered == len(self.reports), f"{figures.undelivered - len(self.reports)} reports never came")
        kept = self.accepted.keys() - self.reports.keys()
        for name in sorted(kept - self.proved):
            self.findings.wrong(f"{name} counts as delivered, and {self.proof.name} does not prove it")
        for name in sorted(filter(has_id, acknowledged & self.reports.keys())):
            self.findings.wrong(f"{name} was reported as {self.reports[name]}, after {self.proof.name}")
        for name, why in self.reports.items():
            if self.resends:
                check(why != "lost", f"{name} was reported as lost, with resend")
            else:
                check(why == "lost" or not self._seen[name], f"{name} was reported as {why}, and read")
            check(
                why != "stopped" or not has_drained, f"{name} was left when the socket stopped, after wait_delivered()"
            )
        self.findings.count("messages accepted", len(self.accepted))
        self.findings.count(f"delivered by {self.proof.name}", figures.delivered)
        self.findings.count("reported", len(self.reports))
        self.findings.count("read more than once", sum(number > 1 for number in self._seen.values()))

    def _check_order(self) -> None:
        # What a connection that was given up still brings to its server may come after newer messages, unless a message
        # that no server has read goes on the next connection, again and first. A server of the kit answers Pings for
        # what its handler is still to read.
        in_time = self.resends and self.proof.proof == "pong" and not self.trusts_written
        reads = self.reads if in_time else sorted(self.reads, key=itemgetter(0))
        # With it, so may what it had given up meanwhile.
        given_up = self.reports if self.resends else {}
        first: dict[str, None] = dict.fromkeys(name for _, name in reads if name not in given_up)
        places = [self.accepted[name] for name in first if name in self.accepted]
        self.findings.check(places == sorted(places), "messages were first read out of order")
        for name in first:
            self.findings.check(name in self.accepted, f"{name} was read, and never accepted")
        for connection in {connection for connection, _ in self.reads}:
            names = [name for number, name in self.reads if number == connection]
            places = [self.accepted[name] for name in names if name in self.accepted]
            self.findings.check(places == sorted(set(places)), f"connection {connection}: repeated or out of order")
