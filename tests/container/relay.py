"""Lets the container test stand outside of the containers' network under a name, without a way from there to the host.

Callers of that network arrive at one port. At the other, which is published to the host alone, the test itself has
connected and waits: each caller is given to one of these connections, after a byte that says so, and from then on bytes
are passed on both ways until either side ends. What the bytes mean is nobody's business here.
"""

import asyncio

CALLERS_PORT = 8443
TEST_PORT = 9000
BLOCK = 65536


async def pass_on(reader, writer):
    """Until one end is reached or lost; both sides see it."""
    try:
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    """Serve until the container is removed."""
    waiting = asyncio.Queue()

    async def of_test(reader, writer):
        await waiting.put((reader, writer))

    async def of_caller(reader, writer):
        while True:
            test_reader, test_writer = await waiting.get()
            if not test_reader.at_eof():
                break
            test_writer.close()
        test_writer.write(b"!")
        await asyncio.gather(pass_on(reader, test_writer), pass_on(test_reader, writer))

    async with (
        await asyncio.start_server(of_test, "0.0.0.0", TEST_PORT),
        await asyncio.start_server(of_caller, "0.0.0.0", CALLERS_PORT),
    ):
        print("listening", flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
