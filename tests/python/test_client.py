"""The official Python client against the real server. Run it with tests/with-server."""

import asyncio
import os
import subprocess
import unittest

from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

URL = os.environ["TEST_URL"] + "/realtime/v1"
KEY = os.environ["TEST_ANON_KEY"]


def sql(statements):
    """Runs statements as the superuser, one transaction each."""
    psql = os.path.join(os.environ["PG_BIN"], "psql") if "PG_BIN" in os.environ else "psql"
    command = [psql, "-q", "-v", "ON_ERROR_STOP=1", os.environ["TEST_DB"]]
    subprocess.run(command, input=";\n".join(statements) + ";", text=True, check=True)


class Client(unittest.IsolatedAsyncioTestCase):
    async def connect(self):
        client = AsyncRealtimeClient(URL, KEY)
        await client.connect()
        self.addAsyncCleanup(client.close)
        return client

    async def subscribe(self, channel):
        joined = asyncio.get_running_loop().create_future()

        def on_state(state, error):
            if joined.done():
                return
            if state == RealtimeSubscribeStates.SUBSCRIBED:
                joined.set_result(None)
            else:
                joined.set_exception(error or RuntimeError(str(state)))

        await channel.subscribe(on_state)
        await self.soon(joined)

    async def soon(self, awaitable):
        return await asyncio.wait_for(awaitable, 30)

    async def test_changes_arrive_with_their_rows(self):
        sql([
            "create table py (id int primary key, body text)",
            "grant select on py to anon",
            "alter publication supabase_realtime add table py",
        ])
        client = await self.connect()
        changes, system = asyncio.Queue(), asyncio.Queue()
        channel = client.channel("room")
        channel.on_postgres_changes("*", table="py", schema="public", callback=changes.put_nowait)
        channel.on_system(system.put_nowait)
        await self.subscribe(channel)
        await self.soon(system.get())
        sql(["insert into py values (1, 'a')", "update py set body = 'b'", "delete from py"])
        seen = [(await self.soon(changes.get()))["data"] for _ in range(3)]
        kinds = [getattr(change["type"], "value", change["type"]) for change in seen]
        self.assertEqual(kinds, ["INSERT", "UPDATE", "DELETE"])
        self.assertEqual(seen[0]["record"], {"id": 1, "body": "a"})
        self.assertEqual(seen[1]["record"], {"id": 1, "body": "b"})
        self.assertEqual(seen[2]["old_record"], {"id": 1})

    async def test_broadcasts_reach_the_other(self):
        first, second = await self.connect(), await self.connect()
        received = asyncio.Queue()
        listener = second.channel("talk")
        listener.on_broadcast("hello", received.put_nowait)
        await self.subscribe(listener)
        sender = first.channel("talk")
        await self.subscribe(sender)
        await sender.send_broadcast("hello", {"text": "häß"})
        message = await self.soon(received.get())
        self.assertEqual(message["payload"], {"text": "häß"})

    async def test_presence_tells_who_comes_and_goes(self):
        first, second = await self.connect(), await self.connect()
        joined, left = asyncio.Queue(), asyncio.Queue()
        watcher = first.channel("who")
        watcher.on_presence_sync(lambda: None)
        watcher.on_presence_join(lambda key, *_: joined.put_nowait(key))
        watcher.on_presence_leave(lambda key, *_: left.put_nowait(key))
        await self.subscribe(watcher)
        guest = second.channel("who", {"config": {"presence": {"key": "guest", "enabled": True}}})
        await self.subscribe(guest)
        await guest.track({"mood": "good"})
        self.assertEqual(await self.soon(joined.get()), "guest")
        await guest.unsubscribe()
        self.assertEqual(await self.soon(left.get()), "guest")


if __name__ == "__main__":
    unittest.main()
