"""The official Python client against the real server. Run it with tests/with-server."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
import unittest

from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

URL = os.environ["TEST_URL"] + "/realtime/v1"
KEY = os.environ["TEST_ANON_KEY"]


def jwt(**claims):
    """A token of a signed-in user with these claims, for an hour."""

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"role": "authenticated", "exp": int(time.time()) + 3600} | claims
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    body = ".".join(encode(part) for part in parts)
    secret = os.environ["TEST_SECRET"].encode()
    return f"{body}.{encode(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def sql(statements):
    """Runs statements as the superuser, one transaction each."""
    psql = os.path.join(os.environ["PG_BIN"], "psql") if "PG_BIN" in os.environ else "psql"
    command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", os.environ["TEST_DB"]]
    subprocess.run(command, input=";\n".join(statements) + ";", text=True, check=True)


class Client(unittest.IsolatedAsyncioTestCase):
    """What the tests share. Clients are closed when their test ends."""

    async def connect(self, token=None):
        client = AsyncRealtimeClient(URL, KEY)
        await client.connect()
        if token:
            await client.set_auth(token)
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


class PublicChannels(Client):
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

    async def test_a_channel_that_was_never_joined_sends_over_http(self):
        first, second = await self.connect(), await self.connect()
        received = asyncio.Queue()
        listener = second.channel("post")
        listener.on_broadcast("hello", received.put_nowait)
        await self.subscribe(listener)
        await first.channel("post").http_send("hello", {"text": "häß"})
        message = await self.soon(received.get())
        self.assertEqual(message["payload"], {"text": "häß"})


class PrivateChannels(Client):
    """Who carries the claim `team` may hear and talk in topics that start with it."""

    @classmethod
    def setUpClass(cls):
        member = "realtime.topic() like (auth.jwt() ->> 'team') || ':%'"
        sql([
            f'create policy "the team listens" on realtime.messages for select to authenticated using ({member})',
            f'create policy "the team talks" on realtime.messages for insert to authenticated with check ({member})',
        ])

    async def member(self):
        return await self.connect(jwt(team="red"))

    async def test_members_hear_each_other_and_strangers_are_refused(self):
        received = asyncio.Queue()
        listener = (await self.member()).channel("red:talk", private())
        listener.on_broadcast("hello", received.put_nowait)
        await self.subscribe(listener)
        talker = (await self.member()).channel("red:talk", private())
        await self.subscribe(talker)
        with self.assertRaisesRegex(Exception, "permissions to read"):
            await self.subscribe((await self.connect()).channel("red:talk", private()))
        # Of the same name, but public.
        public = (await self.connect()).channel("red:talk")
        await public.http_send("hello", {"from": "stranger"})
        await talker.send_broadcast("hello", {"from": "member"})
        message = await self.soon(received.get())
        self.assertEqual(message["payload"], {"from": "member"})

    async def test_presence_tells_who_is_there(self):
        joined, left = asyncio.Queue(), asyncio.Queue()
        watcher = (await self.member()).channel("red:hall", private())
        watcher.on_presence_join(lambda key, *_: joined.put_nowait(key))
        watcher.on_presence_leave(lambda key, *_: left.put_nowait(key))
        await self.subscribe(watcher)
        guest = (await self.member()).channel("red:hall", private(key="guest"))
        await self.subscribe(guest)
        await guest.track({"mood": "good"})
        self.assertEqual(await self.soon(joined.get()), "guest")
        await guest.untrack()
        self.assertEqual(await self.soon(left.get()), "guest")

    async def test_http_asks_the_policies_too(self):
        received = asyncio.Queue()
        listener = (await self.member()).channel("red:post", private())
        listener.on_broadcast("hello", received.put_nowait)
        await self.subscribe(listener)
        with self.assertRaisesRegex(Exception, "Unauthorized"):
            await (await self.connect()).channel("red:post", private()).http_send("hello", {"n": 1})
        await (await self.member()).channel("red:post", private()).http_send("hello", {"n": 2})
        message = await self.soon(received.get())
        self.assertEqual(message["payload"], {"n": 2})

    async def test_a_new_token_keeps_the_channel_and_one_without_the_right_ends_it(self):
        received, states = asyncio.Queue(), asyncio.Queue()
        client = await self.member()
        channel = client.channel("red:kept", private())
        channel.on_broadcast("hello", received.put_nowait)
        await channel.subscribe(lambda state, error: states.put_nowait((state, error)))
        self.assertEqual((await self.soon(states.get()))[0], RealtimeSubscribeStates.SUBSCRIBED)
        talker = (await self.member()).channel("red:kept", private())
        await self.subscribe(talker)
        await client.set_auth(jwt(team="red", again=True))
        await talker.send_broadcast("hello", {"n": 1})
        self.assertEqual((await self.soon(received.get()))["payload"], {"n": 1})
        await client.set_auth(jwt(team="blue"))
        state, _ = await self.soon(states.get())
        self.assertNotEqual(state, RealtimeSubscribeStates.SUBSCRIBED)


def private(key=""):
    """The options of a private channel."""
    presence = {"key": key, "enabled": key != ""}
    return {"config": {"private": True, "broadcast": {"ack": False, "self": False}, "presence": presence}}


if __name__ == "__main__":
    unittest.main()
