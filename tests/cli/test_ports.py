"""Ports for what is started: free ones, and none twice."""

import socket

from droveway.cli import ports


def test_none_is_given_twice_though_nobody_listens_yet() -> None:
    given = [ports.free() for _ in range(300)]
    assert len(set(given)) == len(given)


def test_a_client_s_connection_never_gets_one() -> None:
    assert all(ports.is_free(port) and port < 32_768 for port in (ports.free() for _ in range(20)))


def test_the_wanted_port_is_taken_when_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wanted = server.getsockname()[1]
        assert ports.free(wanted) not in (0, wanted)
    assert ports.free(wanted) == wanted
