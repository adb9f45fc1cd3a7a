"""A small HTTP/1.1 client on asyncio.

Its own, so that the runner needs nothing but Python, and so that what went wrong is told apart: a
refused connection, a connection that was closed in mid-answer, and an answer with a status.
"""

import asyncio


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer
        self.usable = True

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
        """Sends a request; returns status and body. The connection is unusable after any error."""
        reusable, self.usable = self.usable, False
        assert reusable
        self._writer.write(head + body)
        await self._writer.drain()
        status = int((await self._line()).split(b" ", 2)[1])
        length, chunked, closes = None, False, False
        while line := await self._line():
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = value == b"chunked"
            elif name == b"connection":
                closes = value == b"close"
        if chunked:
            content = await self._chunks()
        elif length is None:
            content, closes = await self._reader.read(), True
        else:
            content = await self._reader.readexactly(length)
        self.usable = not closes
        return status, content

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("closed in mid-answer")
        return line.rstrip(b"\r\n")

    async def _chunks(self) -> bytes:
        content = b""
        while size := int(await self._line(), 16):
            content += await self._reader.readexactly(size)
            await self._line()
        await self._line()
        return content

    def close(self) -> None:
        self._writer.close()


def post(path: str, body: bytes) -> bytes:
    """Returns the head of a request with a JSON body."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


async def once(port: int, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Asks on a connection of its own."""
    connection = await Connection.open(port)
    try:
        return await connection.ask(head, body)
    finally:
        connection.close()
