"""A log receiver as a process of its own, to be killed: `python -m tests.fakes.log_process <folder>`.

Prints its port and a ticket, then `wrote` once the store has been given something.
"""

import asyncio
import sys
from pathlib import Path

from tests.fakes.log_world import LogWorld


async def main() -> None:
    world = LogWorld(Path(sys.argv[1]))
    world.store.seconds_passed = lambda seconds: print("wrote", flush=True)
    async with world.served():
        print(world.server.port, world.ticket(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
