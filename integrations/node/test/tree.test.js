// What is signed is looked up first.
import assert from 'node:assert/strict'
import test from 'node:test'

import { treeHashOver } from '../lib/tree.js'
import { blocks, openCore, versions } from './peers.js'

for (const version of Object.keys(versions)) {
  test(`only leaves of the head’s tree are signed (hypercore ${version})`, async (t) => {
    const hypercore = await openCore(t, version)
    await hypercore.append(blocks(5))
    const { core } = hypercore
    const [{ index, size, hash }] = await leaves(core, [3])
    const head = { fork: 0, length: 4 }
    const due = (change, of = head) => ({ head: of, entries: [{ index, size, hash, ...change }] })

    assert.deepEqual(Buffer.from(await treeHashOver(core, due())), Buffer.from(await hypercore.treeHash(4)))
    for (const change of [{ hash: Buffer.alloc(32) }, { size: size + 1 }, { index: 2 }, { index: 400 }]) {
      assert.equal(await treeHashOver(core, due(change)), 'a chunk is not in the tree of the head')
    }
    assert.match(await treeHashOver(core, due({}, { fork: 0, length: 3 })), /not in the tree/)
    for (const other of [{ fork: 1, length: 4 }, { fork: 0, length: 6 }]) {
      assert.equal(await treeHashOver(core, due({}, other)), 'the feed was rewritten')
    }
  })
}

test('a feed that is rewritten during the look-up is not signed for', async () => {
  const tree = { fork: 0, length: 4, get: () => new Promise((resolve) => waiting.push(resolve)) }
  const waiting = []
  const leaf = { size: 1, hash: Buffer.alloc(32) }
  const looking = treeHashOver({ tree }, { head: { fork: 0, length: 4 }, entries: [{ index: 0, ...leaf }] })
  tree.fork = 1
  for (const resolve of waiting) resolve(leaf)
  assert.equal(await looking, 'the feed was rewritten')
})

async function leaves(core, indices) {
  const found = []
  for (const index of indices) {
    if (core.tree) {
      found.push({ ...(await core.tree.get(2 * index)), index })
      continue
    }
    const batch = core.state.storage.read()
    const node = batch.getTreeNode(2 * index)
    batch.tryFlush()
    found.push({ ...(await node), index })
  }
  return found
}
