// Two people and a database administrator, in real browsers, against a real server.
//
//   npm run e2e
//
// CHROMIUM, PG_BIN and TEST_BIN name the programs that are not where they usually are.
// What is started here is stopped here, however it ends. Pictures are in screenshots/.

import { existsSync } from 'node:fs'

import { chromium } from 'playwright-core'

import { Person } from './person.mjs'
import { scenarios } from './scenarios.mjs'
import { buildApp, startServer } from './server.mjs'

const CHROMIUM = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

const stops = []
let isStopping = false
async function stopAll() {
  if (isStopping) return
  isStopping = true
  for (const stop of stops.reverse()) await stop().catch((error) => console.error(error.message))
}
for (const [signal, status] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.on(signal, () => void stopAll().then(() => process.exit(status)))
}

let passed = 0
let failed = 0
try {
  await buildApp()
  const server = await startServer()
  stops.push(() => server.stop())
  const program = CHROMIUM.find((name) => name && existsSync(name))
  if (!program) throw new Error('there is no chromium; CHROMIUM names one')
  const browser = await chromium.launch({
    executablePath: program,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  })
  stops.push(() => browser.close())

  const stage = {
    server,
    arrive: async (name, options) => {
      const person = await Person.arrive(browser, server.port, name, options)
      stops.push(async () => person.network.stop())
      return person
    },
    people: {},
  }
  for (const [name, play] of Object.entries(scenarios)) {
    if (failed > 0) {
      failed += 1
      console.log(`FAIL  ${name}: it needs the one before`)
      continue
    }
    const started = Date.now()
    try {
      await play(stage)
      passed += 1
      console.log(`ok    ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
    } catch (error) {
      if (isStopping) break
      failed += 1
      console.log(`FAIL  ${name}\n      ${String(error.stack ?? error).split('\n').join('\n      ')}`)
      for (const person of Object.values(stage.people)) await person.picture(`failed-${failed}-${person.name}`).catch(() => {})
    }
  }
  if (failed > 0 && !isStopping) console.log(`--- the server's last lines\n${server.log().split('\n').slice(-30).join('\n')}`)
} catch (error) {
  if (!isStopping) {
    failed += 1
    console.error(error.message)
  }
} finally {
  await stopAll()
}
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed > 0 ? 1 : 0)
