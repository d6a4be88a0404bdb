// A server of its own with a database of its own, and the app built.

import { execFile, spawn } from 'node:child_process'
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const app = path.resolve(import.meta.dirname, '..')
const root = path.resolve(app, '../..')
const PATIENCE = 90_000

/** Runs a program and shows what it says; fails if it does. */
function show(program, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', reject)
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${program} ${args.join(' ')}: ${code}`))))
  })
}

/** The app as it is now. */
export async function buildApp() {
  const built = await newest(path.join(app, 'out'), Math.min)
  const sources = ['app', 'components', 'lib', 'next.config.mjs', '../chat-js/src']
  const changed = await Promise.all(sources.map((name) => newest(path.join(app, name), Math.max)))
  if (built > Math.max(...changed)) return
  console.log('building the app')
  await show('npm', ['run', 'build'], app)
}

async function newest(name, which) {
  const found = await stat(name).catch(() => null)
  if (!found) return 0
  if (!found.isDirectory()) return found.mtimeMs
  const inside = await readdir(name, { recursive: true, withFileTypes: true })
  const files = inside.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
  const times = await Promise.all(files.map(async (file) => (await stat(file)).mtimeMs))
  return times.length > 0 ? times.reduce((a, b) => which(a, b)) : 0
}

/** The server as it is now. */
async function binary() {
  if (process.env.TEST_BIN) return process.env.TEST_BIN
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target')
  // It does nothing if the program is as new as its sources.
  await show('cargo', ['build', '--locked', '--features', 'fuzzing', '--bin', 'rowcast'], root)
  return path.join(target, 'debug', 'rowcast')
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer()
    probe.on('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

export async function startServer() {
  const program = await binary()
  const folder = await mkdtemp(path.join(tmpdir(), 'rowcast-chat-e2e-'))
  // PostgreSQL does not run as root; the user that it runs as then has to come through.
  await chmod(folder, 0o711)
  const port = await freePort()
  const args = ['dev', '--port', String(port), '--data-dir', path.join(folder, 'data')]
  if (process.env.PG_BIN) args.push('--pg-bin', process.env.PG_BIN)
  // In the root of the project it finds the app.
  // Settings for another server are not for this one. In a group of its own, a Ctrl-C ends it through us.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(ROWCAST_|API_|DATABASE_URL$|PORT$)/.test(name)))
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text))
  const ended = new Promise((resolve) => child.once('exit', resolve))

  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  const isReady = new Promise((resolve) => {
    const look = () => /Database +postgres\S+/.test(said) && resolve('ready')
    child.stdout.on('data', look)
    child.stderr.on('data', look)
  })
  const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE, 'late').unref())
  const outcome = await Promise.race([isReady, ended.then(() => 'ended'), patience])
  if (outcome !== 'ready') {
    await stop()
    throw new Error(`the server is ${outcome}:\n${said}`)
  }
  const database = /Database +(postgres\S+)/.exec(said)[1]
  const psql = path.join(process.env.PG_BIN ?? '', 'psql')
  return {
    port,
    stop,
    log: () => said,
    sql: (text) => run(psql, [database, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', text]).then(({ stdout }) => stdout.trim()),
  }
}
