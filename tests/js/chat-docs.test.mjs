// The examples of docs/chat.md do what they say.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Inbox, connect, jwt, subscribe, within } from './support.mjs'

const { TEST_URL } = process.env
const page = readFileSync(new URL('../../docs/chat.md', import.meta.url), 'utf8')
const after = (title) => page.slice(page.indexOf(`\n## ${title}\n`))
const example = (section, language) => section.match(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``))[1]

/** A user who has joined the room "General", and what is signed in as them. */
async function member(t, sub, name) {
  const token = jwt({ role: 'authenticated', sub, user_metadata: { name } })
  const room = `${TEST_URL}/chat/v1/rooms/00000000-0000-4000-8000-000000000001`
  const joined = await fetch(`${room}/join`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  assert.equal(joined.status, 200, await joined.text())
  const supabase = connect(t)
  await supabase.realtime.setAuth(token)
  return { token, supabase }
}

test('the examples send a message, hear it, and read it over HTTP', async (t) => {
  const ada = await member(t, 'a0000000-0000-4000-8000-00000000000a', 'Ada')
  const bob = await member(t, 'b0000000-0000-4000-8000-00000000000b', 'Bob')
  const heard = new Inbox()
  const listening = bob.supabase.channel('room:00000000-0000-4000-8000-000000000001', { config: { private: true } })
  listening.on('broadcast', { event: 'chat:message' }, ({ payload }) => heard.push(payload.message))
  await subscribe(listening)

  const warned = []
  const run = new Function('supabase', 'console', example(after('Sockets'), 'js'))
  run(ada.supabase, { log() {}, warn: (text) => warned.push(text) })
  assert.equal((await heard.next('the message of the example')).content, 'hello')
  assert.deepEqual(warned, [])

  const [, path] = example(after('HTTP'), 'sh').match(/http:\/\/127\.0\.0\.1:4000(\S+)/)
  const answer = await within(fetch(TEST_URL + path, { headers: { authorization: `Bearer ${ada.token}` } }), 'an answer')
  assert.equal((await answer.json()).messages.at(-1).content, 'hello')
})
