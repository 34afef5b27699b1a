// The bytes of receipts are those of the shared vectors.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import crypto from 'hypercore-crypto'

import { receiptPeriod, sessionId, signReceipt } from '../index.js'

const vectors = new URL('../../../tests/vectors/challenge.json', import.meta.url)
const bytes = (hex) => Buffer.from(hex, 'hex')

/** Numbers of the vectors may pass 2^53 - 1, those of Hypercore do not. */
const number = (text) => BigInt(text)

for (const [place, vector] of JSON.parse(readFileSync(vectors)).receipts.entries()) {
  test(`vector ${place}`, () => {
    const entries = vector.entries.map(({ index, hash }) => ({ index, hash: bytes(hash), size: 0n }))
    entries[0].size = number(vector.bytes)
    const receipt = {
      feedKey: bytes(vector.feed_key),
      fork: number(vector.fork),
      length: number(vector.length),
      treeHash: bytes(vector.tree_hash),
      client: bytes(vector.client),
      session: sessionId(bytes(vector.handshake_hash)),
      sequence: vector.sequence,
      opened: number(vector.opened),
      issued: number(vector.issued),
      entries
    }
    const keyPair = crypto.keyPair(bytes(vector.hoster_seed))
    assert.equal(Buffer.from(signReceipt(receipt, keyPair)).toString('hex'), vector.message)
  })
}

test('a field beyond its width is not written', () => {
  const keyPair = crypto.keyPair(Buffer.alloc(32))
  const receipt = {
    feedKey: Buffer.alloc(32), fork: 0, length: 1, treeHash: Buffer.alloc(32),
    client: Buffer.alloc(32), session: Buffer.alloc(32), sequence: 0, opened: 0, issued: 0, entries: []
  }
  assert.equal(signReceipt(receipt, keyPair).byteLength, 175 + 64)
  assert.throws(() => signReceipt({ ...receipt, session: Buffer.alloc(31) }, keyPair), /32 bytes/)
})

test('the period follows the length of the first sync', () => {
  const periods = [[0, 1], [1, 1], [40, 40], [100, 100], [101, 100], [2 ** 40, 100]]
  for (const [length, period] of periods) assert.equal(receiptPeriod(length), period)
})
