// What the npm peers share: feeds with reproducible content, TCP, lines of JSON.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { parseArgs } from 'node:util'

import SecretStream from '@hyperswarm/secret-stream'
import crypto from 'hypercore-crypto'

const implementations = {
  11: { core: 'hypercore', store: 'corestore' },
  10: { core: 'hypercore10', store: 'corestore6' }
}

/** The class of one of the two versions under test. */
export async function hypercore(version) {
  return (await import(implementation(version).core)).default
}

/** The Corestore that belongs to that version. */
export async function corestore(version) {
  return (await import(implementation(version).store)).default
}

/** Something out of the inside of that version, such as 'lib/multisig.js'. */
export async function inside(version, file) {
  return (await import(`${implementation(version).core}/${file}`)).default
}

function implementation(version) {
  const names = implementations[version]
  if (names === undefined) throw new Error(`there is no hypercore ${version} here`)
  return names
}

/** The same bytes in every language: SHA-256 of "feed INDEX", repeated to `size` bytes. */
export function block(index, size) {
  const digest = createHash('sha256').update(`feed ${index}`).digest()
  const data = Buffer.alloc(size)
  for (let offset = 0; offset < size; offset += digest.length) digest.copy(data, offset)
  return data
}

/** A folder that goes away with the process. */
export function temporaryFolder() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'datdot-npm-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A Noise key pair made of 32 bytes given in hex. */
export function keyPair(seed) {
  return crypto.keyPair(seed === undefined ? undefined : Buffer.from(seed, 'hex'))
}

/** Print one event for whoever started this process. */
export function say(event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

/** Listen on a free loopback port; `serve(stream)` gets a secret stream for each connection. */
export async function listen(keys, serve) {
  const server = net.createServer((socket) => {
    socket.setNoDelay(true)
    serve(secured(new SecretStream(false, socket, { keyPair: keys })))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

/** Connect to HOST:PORT as an ordinary reader does. */
export function connect(address, keys) {
  const [host, port] = address.split(':')
  const socket = net.connect({ host, port: Number(port), noDelay: true })
  return secured(new SecretStream(true, socket, { keyPair: keys }))
}

function secured(stream) {
  stream.on('error', (error) => say('stream-error', { message: error.message }))
  stream.on('close', () => say('stream-closed'))
  return stream
}

const started = process.hrtime.bigint()

/**
 * Say every plaintext frame, with microseconds since the start: what is received in whole, of what
 * is sent the length and the first `head` bytes.
 */
export function trace(stream, { head = 0 } = {}) {
  const elapsed = () => Number((process.hrtime.bigint() - started) / 1000n)
  const client = () => stream.remotePublicKey?.toString('hex')
  const write = stream.write.bind(stream)
  stream.on('data', (data) => {
    say('received', { at: elapsed(), client: client(), bytes: Buffer.from(data).toString('hex') })
  })
  stream.write = (data, ...rest) => {
    const sent = { at: elapsed(), client: client(), length: data.byteLength }
    if (head > 0) sent.head = Buffer.from(data).subarray(0, head).toString('hex')
    say('sent', sent)
    return write(data, ...rest)
  }
}

/** The command line: every option is a string with a default, or a flag. */
export function options(defaults) {
  const described = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      typeof value === 'boolean' ? { type: 'boolean', default: value } : { type: 'string', default: value }
    ])
  )
  return parseArgs({ options: described }).values
}

/**
 * Do what the lines of standard input say, {"id", "do", ...} each, side by side; they are answered
 * by {"event": "done", "id", ...} or {"event": "failed", "id", "message"}.
 */
export function obey(commands) {
  readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const { id, do: name, ...fields } = JSON.parse(line)
    try {
      if (!Object.hasOwn(commands, name)) throw new Error(`there is no command ${name}`)
      say('done', { id, ...(await commands[name](fields)) })
    } catch (error) {
      say('failed', { id, message: error.message, code: error.code })
    }
  })
}

/** End with the parent: its end of our standard input closes. */
export function endWithParent() {
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
}
