import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'node:test'

import crypto from 'hypercore-crypto'

import { readKeyPair } from '../keyfile.js'

const seed = Buffer.alloc(32, 7)
const keyPair = crypto.keyPair(seed)
const content = {
  kind: 'noise',
  scheme: 'ed25519',
  public: '0x' + keyPair.publicKey.toString('hex'),
  seed: '0x' + seed.toString('hex')
}

function written(t, text, mode = 0o600) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'datdot-keys-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'noise.json')
  writeFileSync(file, text)
  chmodSync(file, mode)
  return file
}

test('a key file of datdot is read', (t) => {
  const read = readKeyPair(written(t, JSON.stringify(content) + '\n'))
  assert.deepEqual(read.publicKey, keyPair.publicKey)
  assert.deepEqual(read.secretKey, keyPair.secretKey)
})

test('a key file that is open to others is refused', (t) => {
  const file = written(t, JSON.stringify(content), 0o640)
  assert.throws(() => readKeyPair(file), /is open to others; run chmod 600/)
})

for (const [what, text] of Object.entries({
  'no JSON': 'seed: ' + content.seed,
  nothing: '',
  null: 'null',
  'another kind': JSON.stringify({ ...content, kind: 'session' }),
  'a short seed': JSON.stringify({ ...content, seed: content.seed.slice(0, -2) }),
  'another public key': JSON.stringify({ ...content, public: '0x' + '00'.repeat(32) })
})) {
  test(`${what} is no key file, and is not quoted`, (t) => {
    const file = written(t, text)
    assert.throws(() => readKeyPair(file), (error) => {
      assert.match(error.message, /is not a noise key file/)
      assert.doesNotMatch(error.message + error.cause, /07070707/)
      return true
    })
  })
}
