"""Lines behind TLS: both directions at once, and nobody without the job's certificate."""

import hashlib
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.encryption import tls
from zoo.orca.encryption.line import open_line
from zoo.orca.encryption.tls import Contexts, contexts_of
from zoo.orca.wire.handshake import HandshakeError

pytestmark = pytest.mark.timeout(60)

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    made = contexts_of(self_signed())
    assert made is not None
    return made


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends of a connection, as TCP has them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with one, other:
        yield one, other


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run all calls in threads; return what they returned, or the errors they raised."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except (OSError, HandshakeError) as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert not any(thread.is_alive() for thread in threads), "a line hangs"
    return results


def opened(ends: Ends, ours: Contexts | None, theirs: Contexts | None, seconds: float = 20) -> Any:
    return at_once(
        lambda: open_line(ends[0], ours, accepts=False, seconds=seconds),
        lambda: open_line(ends[1], theirs, accepts=True, seconds=seconds),
    )


def test_in_clear_without_a_certificate(ends: Ends) -> None:
    assert contexts_of("") is None
    (send, _), (_, stream) = opened(ends, None, None)
    send(b"hello\n")
    assert stream.readline() == b"hello\n"


def test_all_arrives_in_order_while_threads_send_both_ways(ends: Ends, contexts: Contexts) -> None:
    """One thread reads on each end while several send: OpenSSL alone would not survive that."""
    lines = opened(ends, contexts, contexts)
    assert [end.gettimeout() for end in ends] == [None, None]  # as it was before the handshake
    count, senders, size = 60, 3, 70_000
    sent = [[bytes([n]) * size + b"%d\n" % i for i in range(count)] for n in range(11, 14)]

    def heard(stream: Any) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in range(senders)]
        for _ in range(senders * count):
            line = stream.readline()
            found[line[0] - 11].append(hashlib.sha256(line).hexdigest())
        return found

    def told(send: Any, number: int) -> None:
        for line in sent[number]:
            send(line)

    calls = [lambda s=stream: heard(s) for _, stream in lines]
    calls += [lambda s=send, n=n: told(s, n) for send, _ in lines for n in range(senders)]
    first, second, *rest = at_once(*calls)
    assert rest == [None] * len(rest)
    expected = [[hashlib.sha256(line).hexdigest() for line in lines_] for lines_ in sent]
    assert first == second == expected


def test_the_end_of_a_line_is_seen_after_its_last_words(ends: Ends, contexts: Contexts) -> None:
    (send, stream), (answer, theirs) = opened(ends, contexts, contexts)
    send(b"the last\nwords\n")
    ends[0].shutdown(socket.SHUT_WR)
    assert theirs.read() == b"the last\nwords\n"
    answer(b"so be it")  # the other way is still open
    ends[1].close()
    theirs.close()
    assert stream.read() == b"so be it"


def test_it_is_tls_1_3_with_the_jobs_certificate_alone(ends: Ends, contexts: Contexts) -> None:
    for context in (contexts.connects, contexts.accepts):
        assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) + context.cert_store_stats()["x509"] == 1


def without_certificate(other: Contexts) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def of_another_job(other: Contexts) -> ssl.SSLContext:
    other.connects.verify_mode = ssl.CERT_NONE
    return other.connects


def of_old_tls(other: Contexts) -> ssl.SSLContext:
    context = without_certificate(other)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("kind", [without_certificate, of_another_job, of_old_tls])
def test_a_stranger_that_speaks_tls_is_kept_out(ends: Ends, contexts: Contexts, kind: Any) -> None:
    other = contexts_of(self_signed())
    assert other is not None
    context = kind(other)

    def stranger() -> bytes:
        with context.wrap_socket(ends[0]) as line:
            line.sendall(b"let me in\n")
            return line.recv(100)

    refused, theirs = at_once(
        lambda: open_line(ends[1], contexts, accepts=True, seconds=20), stranger
    )
    assert isinstance(refused, HandshakeError), refused
    assert isinstance(theirs, ssl.SSLError), theirs


def test_who_connects_keeps_strangers_out_as_well(ends: Ends, contexts: Contexts) -> None:
    refused, theirs = opened(ends, contexts, contexts_of(self_signed()))
    assert isinstance(refused, HandshakeError) and "certificate" in str(refused)
    assert isinstance(theirs, HandshakeError)


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 300, b"orca-hs\x01report"])
def test_what_is_no_tls_is_refused(ends: Ends, contexts: Contexts, words: bytes) -> None:
    ends[0].sendall(words)
    with pytest.raises(HandshakeError):
        open_line(ends[1], contexts, accepts=True, seconds=20)


def test_a_stranger_that_sends_a_byte_now_and_then_has_a_limit(
    ends: Ends, contexts: Contexts
) -> None:
    ended = threading.Event()

    def drip() -> None:
        for byte in b"\x16\x03\x01\x02\x00" + b"\x01" * 500:
            if ended.wait(0.1):
                return
            ends[0].sendall(bytes([byte]))

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        open_line(ends[1], contexts, accepts=True, seconds=1)
    assert time.monotonic() - begin < 5
    ended.set()
    thread.join()


def test_bytes_that_were_altered_on_the_way_are_not_taken(ends: Ends, contexts: Contexts) -> None:
    (send, _), (_, stream) = opened(ends, contexts, contexts)
    # In the middle stands somebody who sends a record of their own.
    ends[0].sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError):
        stream.read(1)


def test_the_key_is_on_no_disk() -> None:
    with tls._file_of("the key") as path:
        assert stat.S_ISFIFO(os.stat(path).st_mode)
        with open(path) as stream:
            assert stream.read() == "the key"
