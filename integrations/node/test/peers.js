// A hoster and readers in one process, in each version of Hypercore and Corestore.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import SecretStream from '@hyperswarm/secret-stream'
import Corestore7 from 'corestore'
import Corestore6 from 'corestore6'
import Hypercore11 from 'hypercore'
import Hypercore10 from 'hypercore10'
import crypto from 'hypercore-crypto'

import { EXTENSION, Receipts } from '../index.js'

export const versions = {
  11: { Hypercore: Hypercore11, Corestore: Corestore7 },
  10: { Hypercore: Hypercore10, Corestore: Corestore6 }
}
export const hoster = crypto.keyPair(Buffer.alloc(32, 5))
const TAG = Buffer.alloc(32)
TAG.write('datdot.performance.v1.receipt')

export function folder(t) {
  const made = mkdtempSync(path.join(os.tmpdir(), 'datdot-receipts-'))
  t.after(() => rmSync(made, { recursive: true, force: true }))
  return made
}

/** A core that is closed at the end of the test. */
export async function openCore(t, version, ...rest) {
  const core = new versions[version].Hypercore(folder(t), ...rest)
  await core.ready()
  t.after(() => core.close())
  return core
}

export const blocks = (count, from = 0) =>
  Array.from({ length: count }, (_, place) => Buffer.alloc(1 + ((from + place) % 50), from + place))

/** `Receipts` that note down what they send and drop. */
export function noting(options) {
  const sent = []
  const dropped = []
  const receipts = new Receipts(hoster, {
    onreceipt: (receipt) => sent.push(receipt),
    ondropped: ({ reason }) => dropped.push(reason),
    ...options
  })
  return { receipts, sent, dropped }
}

/** Two ends of a connection; the second is the hoster's. */
export function pair(t, keyPair = hoster) {
  const client = new SecretStream(true)
  const server = new SecretStream(false, null, { keyPair })
  client.rawStream.pipe(server.rawStream).pipe(client.rawStream)
  for (const stream of [client, server]) stream.on('error', () => {})
  t.after(async () => {
    const closed = [client, server].filter((stream) => !stream.destroyed).map((stream) => once(stream, 'close'))
    client.destroy()
    server.destroy()
    await Promise.all(closed)
  })
  return { client, server }
}

/** A reader of `key`, connected to `target` of the hoster; it collects the receipts that come. */
export async function reader(t, version, key, receipts, target, options = {}) {
  const core = options.core ?? (await openCore(t, version, key))
  const messages = []
  const waiting = []
  core.registerExtension(EXTENSION, {
    encoding: 'binary',
    onmessage: (message) => {
      messages.push(Buffer.from(message))
      for (const look of waiting.splice(0)) look()
    }
  })
  const streams = pair(t)
  receipts.replicate(target, streams.server)
  core.replicate(streams.client)
  if (options.update !== false) await core.update({ wait: true })
  const received = async (count) => {
    while (messages.length < count) await new Promise((resolve) => waiting.push(resolve))
    return messages.map(decode)
  }
  return { core, messages, received, ...streams }
}

/** Read a receipt, checking its signature. */
export function decode(message) {
  const body = message.subarray(0, -64)
  if (!crypto.verify(Buffer.concat([TAG, body]), message.subarray(-64), hoster.publicKey)) {
    throw new Error('the signature is not the hoster’s')
  }
  let at = 0
  const take = (bytes) => body.subarray(at, (at += bytes))
  const hex = () => take(32).toString('hex')
  const u64 = () => Number(take(8).readBigUInt64LE())
  const receipt = {
    version: take(1)[0], feedKey: hex(), fork: u64(), length: u64(), treeHash: hex(), client: hex(),
    session: hex(), sequence: take(4).readUInt32LE(), opened: u64(), issued: u64(), bytes: u64()
  }
  const count = take(2).readUInt16LE()
  receipt.entries = Array.from({ length: count }, () => ({ index: u64(), hash: hex() }))
  if (at !== body.length) throw new Error('bytes are left over')
  return receipt
}
