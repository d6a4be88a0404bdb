// What has to work, in the order of one afternoon. Each scenario goes on where the one before ended.

import assert from 'node:assert/strict'

import { PHONE } from './person.mjs'

const MISSED = Array.from({ length: 50 }, (_, at) => `missed ${at + 1} of 50`)
const SECRET = 'the cake is hidden in the cellar'

export const scenarios = {
  async 'two people exchange, edit, delete and react'({ arrive, people }) {
    const ada = (people.ada = await arrive('Ada'))
    const bob = (people.bob = await arrive('Bob'))
    await Promise.all([ada.signIn(), bob.signIn()])
    await ada.picture('empty')
    await ada.makeRoom('Tea')
    await ada.invite('Bob')
    await bob.openRoom('Tea')

    await ada.write('Shall we have tea at four?')
    await bob.sees('Shall we have tea at four?')
    await bob.page.getByLabel('Message', { exact: true }).pressSequentially('Yes')
    await ada.page.getByText('Bob is typing…').waitFor()
    await bob.write('Yes, with cake')
    await ada.sees('Yes, with cake')
    await ada.page.getByText('Bob is typing…').waitFor({ state: 'detached' })

    await ada.does('Reply', 'Yes, with cake')
    await ada.write('Which one?')
    await bob.line('Which one?').getByRole('button', { name: 'In reply to Bob' }).waitFor()

    await ada.does('Edit', 'tea at four')
    const edit = ada.page.getByLabel('Edit the message')
    await edit.fill('Shall we have tea at five?')
    await edit.press('Enter')
    await bob.line('tea at five').getByText('edited').waitFor()
    assert.equal(await bob.line('tea at four').count(), 0)

    await bob.does('React', 'tea at five')
    await bob.line('tea at five').getByRole('button', { name: 'React with heart' }).click()
    await ada.line('tea at five').getByRole('button', { name: '❤️ 1' }).click()
    await bob.line('tea at five').getByRole('button', { name: '❤️ 2' }).waitFor()
    await bob.line('tea at five').getByRole('button', { name: '❤️ 2' }).click()
    await ada.line('tea at five').getByRole('button', { name: '❤️ 1' }).waitFor()

    await ada.does('Delete', 'Which one?')
    await bob.sees('Message deleted')
    assert.equal(await bob.line('Which one?').count(), 0)
    await bob.roomLine('Tea').getByText('Message deleted').waitFor()
  },

  async 'who is online is seen'({ people: { ada } }) {
    const panel = await ada.openMembers()
    await panel.getByRole('listitem').filter({ hasText: 'Bob' }).getByText('online').waitFor()
    await panel.getByRole('button', { name: 'Close' }).click()
  },

  async 'ticks go from sent to delivered to read'({ arrive, people }) {
    const { ada, bob } = people
    await bob.go()
    const texts = Array.from({ length: 40 }, (_, at) => `note number ${at + 1}.`)
    for (const text of texts) await ada.write(text)
    for (const text of [texts[0], texts.at(-1)]) await ada.tick(text, 'sent')

    // Signed in with the room closed: delivered, and nothing read.
    const again = (people.bob = await arrive('Bob'))
    await again.signIn()
    for (const text of [texts[0], texts.at(-1)]) await ada.tick(text, 'delivered')
    await again.roomLine('Tea').getByText('40 unread messages').waitFor({ state: 'attached' })

    // Opened at the first unread one: read as far as the screen goes.
    await again.openRoom('Tea')
    await ada.tick(texts[0], 'read')
    await ada.tick(texts.at(-1), 'delivered')
    await again.picture('unread')
    const panel = await ada.openMembers()
    await ada.picture('ticks')
    await panel.getByRole('button', { name: 'Close' }).click()

    await again.page.getByRole('button', { name: 'To the newest message' }).click()
    await ada.tick(texts.at(-1), 'read')
    await again.roomLine('Tea').getByText('unread').waitFor({ state: 'detached' })
    await ada.does('Seen by', texts.at(-1))
    await ada.page.getByRole('dialog', { name: 'Seen by' }).getByText('Read by 1 of 1').waitFor()
    await ada.page.keyboard.press('Escape')
  },

  async 'who was away has all that was missed, once and in order'({ people: { ada, bob } }) {
    bob.network.cut()
    await bob.page.getByText('You are offline.').waitFor()
    await bob.write('said while away')
    await bob.tick('said while away', 'sending')
    for (const text of MISSED) await ada.write(text)
    await ada.tick(MISSED.at(-1), 'sent')
    await bob.picture('offline')

    bob.network.mend()
    await bob.sees(MISSED.at(-1))
    await ada.sees('said while away')
    await bob.page.getByText('You are offline.').waitFor({ state: 'detached' })
    for (const person of [ada, bob]) {
      await person.line('said while away').and(person.page.locator('[data-seq]')).waitFor()
      const texts = (await person.texts()).filter((text) => text.startsWith('missed') || text === 'said while away')
      assert.deepEqual(texts, [...MISSED, 'said while away'], person.name)
    }
  },

  async "a database administrator's insert appears"({ server, people: { ada, bob } }) {
    const room = await server.sql("select id from rooms where name = 'Tea'")
    await server.sql(
      `insert into messages (room_id, sender_id, content) values ('${room}', gen_random_uuid(), 'from the database')`,
    )
    for (const person of [ada, bob]) await person.sees('from the database')
  },

  async 'earlier messages come when one scrolls up'({ arrive, people }) {
    const bob = (people.bob = (await people.bob.go(), await arrive('Bob')))
    await bob.signIn()
    await bob.openRoom('Tea')
    await bob.sees('from the database')
    assert.equal(await bob.line('tea at five').count(), 0)
    await bob.page.getByLabel('Messages').locator('..').evaluate((view) => (view.scrollTop = 0))
    await bob.sees('tea at five')
    await bob.page.getByText('This is where it begins.').waitFor({ state: 'attached' })
    const seqs = await bob.page.locator('li[data-seq]').evaluateAll((lines) => lines.map((line) => Number(line.dataset.seq)))
    assert.deepEqual(seqs, seqs.map((_, at) => at + 1))
  },

  async 'a keyboard is enough'({ people: { ada, bob } }) {
    const input = ada.page.getByLabel('Message', { exact: true })
    await input.focus()
    await input.pressSequentially('by keyboard')
    await input.press('Enter')
    await bob.sees('by keyboard')
    await input.press('ArrowUp')
    await ada.page.keyboard.press('End')
    await ada.page.keyboard.type(' only')
    await ada.page.keyboard.press('Enter')
    await bob.sees('by keyboard only')
    await ada.line('by keyboard only').focus()
    await ada.page.keyboard.press('Tab')
    await ada.page.keyboard.press('Enter')
    await ada.page.keyboard.press('Enter')
    await bob.line('by keyboard only').getByRole('button', { name: '👍 1' }).waitFor()
    await ada.line('by keyboard only').focus()
    await ada.page.keyboard.press('ArrowUp')
    assert.match(await ada.page.evaluate(() => document.activeElement.textContent), /from the database/)
  },

  async 'it fits a phone, in the light and in the dark'({ arrive, people }) {
    const { ada } = people
    await ada.line('from the database').hover()
    await ada.page.emulateMedia({ colorScheme: 'dark' })
    await ada.picture('dark')
    await ada.page.emulateMedia({ colorScheme: 'light' })
    await ada.picture('light')
    const eve = (people.eve = await arrive('Ada', { viewport: PHONE, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }))
    await eve.signIn()
    await eve.roomLine('Tea').waitFor()
    await eve.picture('phone-list')
    await eve.openRoom('Tea')
    await eve.sees('by keyboard only')
    await eve.picture('phone-room')
    await eve.page.emulateMedia({ colorScheme: 'dark' })
    await eve.picture('phone-room-dark')
    assert.ok(await eve.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out')
    await eve.page.getByRole('button', { name: 'Back to the rooms' }).click()
    await eve.roomLine('General').waitFor()
    await eve.picture('phone-list-dark')
    await eve.go()
    delete people.eve
  },

  async 'a removed member sees nothing more'({ people: { ada, bob } }) {
    const panel = await ada.openMembers()
    await panel.getByRole('button', { name: 'Remove Bob' }).click()
    await panel.getByText('Bob', { exact: true }).waitFor({ state: 'detached' })
    await ada.write(SECRET)
    await ada.tick(SECRET, 'sent')
    await bob.page.getByRole('heading', { name: 'This room is closed to you' }).waitFor()
    await bob.page.getByRole('button', { name: 'Back to the rooms' }).click()
    await bob.roomLine('General').waitFor()
    assert.equal(await bob.roomLine('Tea').count(), 0)
    // Something that does come shows that everything before it has come.
    await bob.openRoom('General')
    await ada.openRoom('General')
    await ada.write('anybody here?')
    await bob.sees('anybody here?')
    assert.ok(!bob.heard.includes(SECRET))
    await bob.page.goBack()
    assert.equal(await bob.page.getByText(SECRET).count(), 0)
  },

  async 'who is invited again is back'({ people: { ada, bob } }) {
    await ada.openRoom('Tea')
    await ada.invite('Bob')
    await bob.openRoom('Tea')
    await ada.write('Welcome back')
    await bob.sees('Welcome back')
    await bob.write('Thank you')
    await ada.tick('Welcome back', 'read')
    await ada.sees('Thank you')
  },

  async 'a host page hands the token'({ arrive, people }) {
    const cleo = (people.cleo = await arrive('Cleo'))
    const { url } = cleo.network
    const token = async (name) => (await fetch(`${url}/dev/token?name=${name}`)).json()
    const dora = await token('Dora')
    await cleo.page.goto(`${url}/chat/#token=${dora.token}&key=${dora.anon_key}`)
    await cleo.page.getByText('Dora', { exact: true }).waitFor()
    assert.ok(!cleo.page.url().includes('token'))

    const { token: given, anon_key } = await token('Cleo')
    const body = `<iframe src="/chat/" width="1200" height="700"></iframe><script>
      addEventListener('message', ({ data, source }) => data.type === 'rowcast:ready' &&
        source.postMessage({ type: 'rowcast:token', token: ${JSON.stringify(given)}, key: ${JSON.stringify(anon_key)} }, location.origin))
    </script>`
    await cleo.page.route('**/host', (route) => route.fulfill({ contentType: 'text/html', body }))
    await cleo.page.goto(`${url}/host`)
    const app = cleo.page.frameLocator('iframe')
    await app.getByText('Cleo', { exact: true }).waitFor()

    // A public room is read by its link, and joined to write in it.
    await app.getByText('No room yet.').waitFor()
    const general = '00000000-0000-4000-8000-000000000001'
    await app.locator('body').evaluate((_, id) => (location.hash = `/room/${id}`), general)
    await app.getByText('anybody here?').waitFor()
    await app.getByRole('button', { name: 'Join the room' }).click()
    await app.getByLabel('Message', { exact: true }).fill('I am')
    await app.getByLabel('Message', { exact: true }).press('Enter')
    await app.locator('[data-tick="delivered"], [data-tick="read"]').waitFor()

    // A fresh token of the same user changes nothing; another user's signs them in.
    const hand = (fresh) =>
      cleo.page.evaluate((given) => frames[0].postMessage({ type: 'rowcast:token', token: given }, location.origin), fresh)
    await hand((await token('Cleo')).token)
    await app.getByLabel('Message', { exact: true }).fill('still here')
    await app.getByLabel('Message', { exact: true }).press('Enter')
    await hand(dora.token)
    await app.getByText('Dora', { exact: true }).waitFor()
    await app.getByRole('button', { name: 'Join the room' }).waitFor()
  },

  async 'nothing failed on the pages, and nobody else was asked'({ people }) {
    assert.deepEqual(Object.values(people).flatMap((person) => person.faults), [])
  },
}
