#!/usr/bin/env node
// A hoster over TCP: keeps feeds in a Corestore, and serves them with receipts.
//
//   datdot-hoster --store FOLDER --key noise.json --listen IP:PORT [--upstream IP:PORT …] FEED …
//
// Each FEED (its key in hex) is copied from the upstream peers, and its growth is followed. What
// happens is written to standard output, one JSON object a line. It ends on Ctrl-C, or with
// --until-stdin-closes as soon as standard input does.
import net from 'node:net'
import { parseArgs } from 'node:util'

import SecretStream from '@hyperswarm/secret-stream'
import { Receipts } from 'datdot-receipts'
import { readKeyPair } from 'datdot-receipts/keyfile.js'

const MAX_CONNECTIONS = 256
const IDLE_MS = 60_000
const MAX_PAUSE_MS = 30_000

const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }))
const hex = (buffer) => Buffer.from(buffer).toString('hex')

try {
  await main()
} catch (error) {
  console.error(error.message)
  process.exit(1)
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      store: { type: 'string', default: 'store' },
      key: { type: 'string', default: 'noise.json' },
      listen: { type: 'string', default: '127.0.0.1:4200' },
      upstream: { type: 'string', multiple: true, default: [] },
      corestore: { type: 'string', default: 'corestore' },
      'until-stdin-closes': { type: 'boolean', default: false }
    }
  })
  const listen = address(values.listen)
  const upstream = values.upstream.map(address)
  if (positionals.length === 0) throw new Error('name the feeds to keep, by their keys in hex')
  const malformed = positionals.find((key) => !/^[0-9a-f]{64}$/.test(key))
  if (malformed) throw new Error(`${malformed} is not a feed's key; write 64 hexadecimal digits`)
  const keyPair = readKeyPair(values.key)

  const { default: Corestore } = await import(values.corestore)
  const store = new Corestore(values.store)
  await store.ready()
  const receipts = new Receipts(keyPair, {
    onreceipt: ({ feedKey, client, sequence, entries }) => {
      say('receipt', { feed: hex(feedKey), client: hex(client), sequence, chunks: entries.length })
    },
    ondropped: ({ feedKey, reason }) => say('receipt-dropped', { feed: hex(feedKey), reason })
  })

  for (const key of positionals) await keep(store, Buffer.from(key, 'hex'))

  const end = () => store.close().then(() => process.exit(0))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
  if (values['until-stdin-closes']) process.stdin.resume().once('end', end)

  const server = net.createServer((socket) => {
    socket.setNoDelay(true)
    const stream = new SecretStream(false, socket, { keyPair })
    watch(stream)
    receipts.replicate(store, stream)
  })
  server.maxConnections = MAX_CONNECTIONS
  await new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(listen.port, listen.host, resolve)
  })
  const { address: host, port } = server.address()
  say('listening', { host, port, noiseKey: hex(keyPair.publicKey) })
  for (const peer of upstream) follow(store, peer)
}

/** Keep all chunks of a feed, and those that are appended to it. */
async function keep(store, key) {
  const core = store.get({ key })
  await core.ready()
  core.download({ start: 0, end: -1 })
  let told = -1
  const tell = () => {
    if (core.contiguousLength !== core.length || core.length === told) return
    told = core.length
    say('complete', { feed: hex(key), fork: core.fork, length: core.length })
  }
  core.on('download', () => setImmediate(tell))
  core.on('append', () => setImmediate(tell))
  core.on('truncate', () => { told = -1 })
  tell()
}

/** Stay connected to a peer that has the feeds. */
function follow(store, { host, port }, pause = 500) {
  const socket = net.connect({ host, port, noDelay: true })
  // A key of its own: as a reader, this is nobody in particular.
  const stream = new SecretStream(true, socket)
  watch(stream)
  stream.once('handshake', () => { pause = 500 })
  stream.once('close', () => {
    setTimeout(follow, pause, store, { host, port }, Math.min(2 * pause, MAX_PAUSE_MS))
  })
  if (!store.closing) store.replicate(stream)
}

/** Nothing that a peer does ends more than its own connection. */
function watch(stream) {
  stream.setTimeout(IDLE_MS)
  stream.on('error', (error) => say('stream-error', { reason: error.message }))
}

/** Read IP:PORT; a name would be looked up, and look-ups leak. */
function address(text) {
  const [, host, port] = /^(.*):(\d{1,5})$/.exec(text) ?? []
  const ip = host?.replace(/^\[(.*)\]$/, '$1')
  if (!net.isIP(ip ?? '') || Number(port) > 65535) {
    throw new Error(`${text} is not an address; write IP:PORT, such as 127.0.0.1:4200 or [::1]:4200`)
  }
  return { host: ip, port: Number(port) }
}
