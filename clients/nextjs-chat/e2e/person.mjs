// Somebody in a browser of their own, who does what people do.

import { mkdir } from 'node:fs/promises'
import path from 'node:path'

import { startProxy } from './proxy.mjs'

const PATIENCE = 20_000
const PICTURES = path.resolve(import.meta.dirname, '../screenshots')
export const DESKTOP = { width: 1280, height: 800 }
export const PHONE = { width: 390, height: 780 }

export class Person {
  /** Everything that came over their sockets. */
  heard = ''
  /** What their page complained about, and what it asked of others than the server. */
  faults = []

  static async arrive(browser, port, name, options = {}) {
    const person = new Person()
    person.name = name
    person.network = await startProxy(port)
    person.context = await browser.newContext({ viewport: DESKTOP, ...options })
    person.page = await person.context.newPage()
    person.page.setDefaultTimeout(PATIENCE)
    person.#watch()
    return person
  }

  #watch() {
    const { page } = this
    page.on('pageerror', (error) => this.faults.push(`${this.name}: ${error.message}`))
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url())
      if (origin !== this.network.url && /^https?:/.test(protocol)) this.faults.push(`asked ${origin}`)
    })
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => (this.heard += String(payload))))
  }

  async signIn() {
    await this.page.goto(`${this.network.url}/chat/`)
    await this.page.getByLabel('Your name').fill(this.name)
    await this.page.getByRole('button', { name: 'Start chatting' }).click()
    await this.page.getByRole('heading', { name: 'Rooms' }).waitFor()
  }

  async makeRoom(name) {
    await this.page.getByRole('button', { name: 'New room' }).click()
    await this.page.getByLabel('Name', { exact: true }).fill(name)
    await this.page.getByRole('button', { name: 'Make the room' }).click()
    await this.page.getByRole('heading', { level: 1, name }).waitFor()
  }

  roomLine(name) {
    return this.page.getByRole('navigation', { name: 'Rooms' }).getByRole('link', { name })
  }

  async openRoom(name) {
    await this.roomLine(name).click()
    await this.page.getByRole('heading', { level: 1, name }).waitFor()
    await this.page.getByLabel('Message', { exact: true }).waitFor()
  }

  async openMembers() {
    await this.page.getByRole('button', { name: 'Members' }).click()
    return this.page.getByRole('complementary', { name: 'Members' })
  }

  async invite(name) {
    const panel = await this.openMembers()
    await panel.getByLabel('Invite by name').fill(name)
    await panel.getByRole('button', { name: 'Invite' }).click()
    await panel.getByText(name, { exact: true }).waitFor()
    await panel.getByRole('button', { name: 'Close' }).click()
  }

  async write(text) {
    const input = this.page.getByLabel('Message', { exact: true })
    await input.fill(text)
    await input.press('Enter')
  }

  /** A message's line. */
  line(text) {
    return this.page.getByLabel('Messages').getByRole('listitem').filter({ hasText: text })
  }

  async sees(text) {
    await this.line(text).first().waitFor()
  }

  async does(what, text) {
    const line = this.line(text).first()
    await line.focus()
    await line.getByRole('button', { name: what, exact: true }).click()
  }

  async tick(text, state) {
    await this.line(text).last().locator(`[data-tick="${state}"]`).waitFor()
  }

  /** The texts of the loaded messages, from top to bottom. */
  texts() {
    return this.page.locator('li[data-seq] > div > div > p').allTextContents()
  }

  async picture(name) {
    await mkdir(PICTURES, { recursive: true })
    await this.page.screenshot({ path: path.join(PICTURES, `${name}.png`) })
  }

  async go() {
    await this.context.close()
    this.network.stop()
  }
}
