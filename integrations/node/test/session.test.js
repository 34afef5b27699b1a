// What sessions of unmodified peers are sent, in Hypercore 10 and 11.
import assert from 'node:assert/strict'
import test from 'node:test'

import crypto from 'hypercore-crypto'

import { Receipts, sessionId } from '../index.js'
import { blocks, decode, folder, hoster, noting, openCore, pair, reader, versions } from './peers.js'

const hex = (buffer) => Buffer.from(buffer).toString('hex')
const range = (from, to) => Array.from({ length: to - from }, (_, place) => from + place)
const indices = (receipt) => receipt.entries.map(({ index }) => index)

async function readAll(core, order) {
  for (const index of order) await core.get(index)
}

for (const version of Object.keys(versions)) {
  const name = (text) => `${text} (hypercore ${version})`

  for (const compat of [false, true]) {
    test(name(`a receipt after each hundred distinct chunks${compat ? ', compat' : ''}`), async (t) => {
      const core = await openCore(t, version, { compat })
      const written = blocks(230)
      await core.append(written)
      let time = 1000
      const { receipts, sent, dropped } = noting({ now: () => time++ })
      const client = await reader(t, version, core.key, receipts, core)
      const order = [...range(120, 230), ...range(0, 120)]
      await readAll(client.core, order)
      const [first, second] = await client.received(2)
      assert.deepEqual(first, {
        version: 1,
        feedKey: hex(core.key),
        fork: 0,
        length: 230,
        treeHash: hex(await core.treeHash()),
        client: hex(client.client.publicKey),
        session: hex(sessionId(client.client.handshakeHash)),
        sequence: 0,
        opened: 1000,
        issued: 1001,
        bytes: order.slice(0, 100).reduce((sum, index) => sum + written[index].byteLength, 0),
        entries: order.slice(0, 100).map((index) => ({ index, hash: hex(crypto.data(written[index])) }))
      })
      assert.deepEqual(indices(second), order.slice(100, 200))
      assert.deepEqual([second.sequence, second.opened, second.issued], [1, 1000, 1002])
      assert.deepEqual([sent.length, dropped], [2, []])
    })
  }

  test(name('a short feed gives a receipt for all of it'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(7))
    const { receipts } = noting()
    const client = await reader(t, version, core.key, receipts, core)
    await client.core.download({ start: 0, end: 7 }).done()
    const [receipt] = await client.received(1)
    assert.deepEqual(indices(receipt).sort((a, b) => a - b), range(0, 7))
  })

  test(name('a feed that was empty at first gives one for each chunk, as of the newest head'), async (t) => {
    const core = await openCore(t, version)
    const { receipts } = noting()
    const client = await reader(t, version, core.key, receipts, core, { update: false })
    for (const length of [1, 2, 3]) {
      await core.append(blocks(1, length))
      await client.core.get(length - 1)
      const receipt = (await client.received(length)).at(-1)
      assert.deepEqual(indices(receipt), [length - 1])
      assert.deepEqual([receipt.sequence, receipt.length], [length - 1, length])
      assert.equal(receipt.treeHash, hex(await core.treeHash(length)))
    }
  })

  test(name('growth keeps what was collected; the head is the newest that was sent'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(10))
    const { receipts } = noting()
    const client = await reader(t, version, core.key, receipts, core)
    await readAll(client.core, range(0, 6))
    await core.append(blocks(20, 10))
    await client.core.get(29)
    await readAll(client.core, range(10, 13))
    const [receipt] = await client.received(1)
    assert.deepEqual(indices(receipt), [0, 1, 2, 3, 4, 5, 29, 10, 11, 12])
    assert.deepEqual([receipt.length, receipt.treeHash], [30, hex(await core.treeHash(30))])
  })

  test(name('an upgrade to less than the newest head is sent with the rest'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(5))
    const { receipts } = noting()
    const client = await reader(t, version, core.key, receipts, core, { update: false })
    while (client.core.peers.length === 0) await new Promise((resolve) => client.core.once('peer-add', resolve))
    const [peer] = client.core.peers
    const request = (id, fields) => {
      const none = { block: null, hash: null, seek: null, upgrade: null, manifest: false, priority: 0 }
      peer.wireRequest.send({ id, fork: 0, ...none, ...fields })
    }
    const first = new Promise((resolve) => core.once('upload', resolve))
    request(90, { upgrade: { start: 0, length: 3 }, block: { index: 0, nodes: 0 } })
    await first
    for (const index of range(1, 5)) request(91 + index, { block: { index, nodes: 0 } })
    const [receipt] = await client.received(1)
    assert.deepEqual([receipt.length, indices(receipt).sort()], [5, range(0, 5)])
  })

  test(name('a truncation discards what was collected'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(10))
    const { receipts, dropped } = noting()
    const client = await reader(t, version, core.key, receipts, core)
    await readAll(client.core, range(0, 9))
    const truncated = new Promise((resolve) => client.core.once('truncate', resolve))
    await core.truncate(5)
    await core.append(blocks(10, 100))
    await truncated
    while (client.core.length < 15) await client.core.update({ wait: true })
    await readAll(client.core, range(5, 15))
    const [receipt] = await client.received(1)
    assert.deepEqual(indices(receipt), range(5, 15))
    assert.deepEqual([receipt.fork, receipt.length, receipt.sequence], [1, 15, 0])
    assert.deepEqual(dropped, [])
  })

  test(name('a chunk that is asked for again does not count again'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(3))
    const { receipts, sent } = noting()
    const client = await reader(t, version, core.key, receipts, core)
    for (let times = 0; times < 4; times++) {
      await client.core.get(1)
      await client.core.clear(1)
    }
    assert.deepEqual(sent, [])
    await readAll(client.core, [0, 2])
    const [receipt] = await client.received(1)
    assert.deepEqual(indices(receipt), [1, 0, 2])
  })

  test(name('a session that was sent no head gets no receipt'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(3))
    const { receipts, sent, dropped } = noting()
    const first = await reader(t, version, core.key, receipts, core)
    first.client.destroy()
    const second = await reader(t, version, core.key, receipts, core, { core: first.core, update: false })
    await readAll(second.core, range(0, 3))
    assert.deepEqual([sent, dropped], [[], []])
  })

  test(name('the bytes are those that were sent, also of an encrypted feed'), async (t) => {
    const core = await openCore(t, version, { encryptionKey: Buffer.alloc(32, 9) })
    await core.append(blocks(3))
    const { receipts } = noting()
    const client = await reader(t, version, core.key, receipts, core)
    await readAll(client.core, range(0, 3))
    const [receipt] = await client.received(1)
    assert.equal(receipt.bytes, 1 + 2 + 3 + 3 * 8)
  })

  test(name('every feed of a Corestore counts for itself, also one that nobody has opened'), async (t) => {
    const { Corestore } = versions[version]
    const place = folder(t)
    const author = new Corestore(place)
    const keys = []
    for (const count of [3, 4]) {
      const core = author.get({ name: `feed ${count}` })
      await core.append(blocks(count))
      keys.push(core.key)
    }
    await author.close()
    const store = new Corestore(place)
    await store.ready()
    t.after(() => store.close())
    const opened = store.get({ key: keys[0] })
    await opened.ready()
    const times = [5000, 6000, 7000]
    const { receipts } = noting({ now: () => times.shift() })
    const { client, server } = pair(t)
    receipts.replicate(store, server)
    // The same stream again changes nothing.
    receipts.replicate(store, server)
    const found = []
    for (const [place, key] of keys.entries()) {
      const core = await openCore(t, version, key)
      const came = new Promise((resolve) => {
        core.registerExtension('datdot/receipt/1', { encoding: 'binary', onmessage: resolve })
      })
      core.replicate(client)
      await core.update({ wait: true })
      await readAll(core, range(0, 3 + place))
      found.push(decode(Buffer.from(await came)))
    }
    assert.deepEqual(found.map(({ feedKey }) => feedKey), keys.map(hex))
    assert.deepEqual(found.map((receipt) => indices(receipt)), [[0, 1, 2], [0, 1, 2, 3]])
    assert.deepEqual(found.map(({ sequence, opened, issued }) => [sequence, opened, issued]), [
      [0, 5000, 6000], [0, 5000, 7000]
    ])
  })

  test(name('a client that goes is sent nothing more, and harms nobody'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(3))
    let gone
    const { receipts, sent } = noting({ ondropped: ({ reason }) => gone(reason) })
    const dropped = new Promise((resolve) => { gone = resolve })
    const client = await reader(t, version, core.key, receipts, core)
    await readAll(client.core, [0, 1])
    core.once('upload', () => client.server.destroy())
    client.core.get(2).catch(() => {})
    assert.equal(await dropped, 'the client has gone')
    assert.deepEqual(sent, [])
    const other = await reader(t, version, core.key, receipts, core)
    await readAll(other.core, range(0, 3))
    assert.equal((await other.received(1)).length, 1)
  })

  test(name('a store that is closed under a due receipt does not bring the process down'), async (t) => {
    const core = await openCore(t, version)
    await core.append(blocks(3))
    const reasons = []
    let done
    const ended = new Promise((resolve) => { done = resolve })
    const { receipts } = noting({ onreceipt: done, ondropped: ({ reason }) => done(reasons.push(reason)) })
    const client = await reader(t, version, core.key, receipts, core)
    await readAll(client.core, [0, 1])
    core.once('upload', () => { core.close() })
    client.core.get(2).catch(() => {})
    await ended
  })
}

test('a stream with another key is refused', async (t) => {
  const core = await openCore(t, 11)
  const { receipts } = noting()
  const { server } = pair(t, crypto.keyPair())
  assert.throws(() => receipts.replicate(core, server), /another Noise key/)
  assert.throws(() => new Receipts({ ...hoster, publicKey: Buffer.alloc(32) }), /public key/)
})

test('a stream can be made on the way', async (t) => {
  const core = await openCore(t, 11)
  await core.append(blocks(1))
  let onreceipt
  const sent = new Promise((resolve) => { onreceipt = resolve })
  const { receipts } = noting({ onreceipt })
  const made = receipts.replicate(core, false)
  const client = await openCore(t, 11, core.key)
  const stream = client.replicate(true)
  stream.pipe(made).pipe(stream)
  await client.get(0)
  assert.deepEqual(stream.noiseStream.remotePublicKey, hoster.publicKey)
  assert.deepEqual((await sent).client, stream.noiseStream.publicKey)
})
