"""What the end of a node leaves on the emulator's standard error."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

#: Clients connect while the server closes, again and again; then something else raises where nothing can catch it.
RACE: Final = """
import asyncio, gc, socket
from pytest_capacity.emulator.nodes.fleet import leave_out_late_accepts

class Other:
    def __del__(self):
        raise TypeError("another fault")

async def main():
    for number in range(200):
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for _ in range(number % 5):
            await asyncio.sleep(0)
        server.close()
        await asyncio.sleep(0.001)
        for client in clients:
            client.close()
    gc.collect()
    Other()

leave_out_late_accepts()
asyncio.run(main())
"""


def test_a_connection_that_comes_while_a_port_closes_is_no_defect() -> None:
    """Python's own race says nothing; any other exception in a destructor is shown."""
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=120, check=True)
    assert "_SelectorTransport" not in done.stderr
    assert "another fault" in done.stderr
