// What the npm peers share: feeds with reproducible content, TCP, lines of JSON.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

import SecretStream from '@hyperswarm/secret-stream'
import crypto from 'hypercore-crypto'

const implementations = { 11: 'hypercore', 10: 'hypercore10' }

/** The class of one of the two versions under test. */
export async function hypercore(version) {
  const name = implementations[version]
  if (name === undefined) throw new Error(`there is no hypercore ${version} here`)
  return (await import(name)).default
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
    const stream = new SecretStream(false, socket, { keyPair: keys })
    stream.on('error', (error) => say('stream-error', { message: error.message }))
    serve(stream)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

/** Connect to HOST:PORT as an ordinary reader does. */
export function connect(address, keys) {
  const [host, port] = address.split(':')
  const socket = net.connect({ host, port: Number(port), noDelay: true })
  const stream = new SecretStream(true, socket, { keyPair: keys })
  stream.on('error', (error) => say('stream-error', { message: error.message }))
  return stream
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

/** End with the parent: its end of our standard input closes. */
export function endWithParent() {
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
}
