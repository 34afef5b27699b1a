// Looking up nodes of a feed's Merkle tree as it is stored, in hypercore 10 and 11.
import b4a from 'b4a'
import flat from 'flat-tree'
import crypto from 'hypercore-crypto'

/**
 * Check the chunks of a due receipt against the stored tree.
 * @param {object} core the inner core of a Hypercore
 * @param {import('./collector.js').Due} due
 * @returns {Promise<Uint8Array | string>} the head's tree hash, or why there is nothing to sign
 */
export async function treeHashOver(core, { head, entries }) {
  const roots = flat.fullRoots(2 * head.length)
  const leaves = entries.map((entry) => 2 * entry.index)
  if (!isPartOf(core, head)) return 'the feed was rewritten'
  const nodes = await storedNodes(core, [...roots, ...leaves])
  // The look-ups waited for the disk: what was read is of this head only if the fork is the same.
  if (!isPartOf(core, head)) return 'the feed was rewritten'
  const stored = nodes.splice(roots.length)
  const same = entries.every(({ index, hash, size }, place) => {
    const leaf = stored[place]
    return index < head.length && leaf && leaf.size === size && b4a.equals(leaf.hash, hash)
  })
  if (!same) return 'a chunk is not in the tree of the head'
  if (nodes.some((node) => !node)) return 'the tree of the head is not here whole'
  return crypto.tree(nodes)
}

function isPartOf(core, head) {
  const { fork, length } = core.tree ?? core.state
  return fork === head.fork && length >= head.length
}

/** @returns {Promise<Array<{index: number, size: number, hash: Uint8Array} | null>>} */
function storedNodes(core, indices) {
  if (core.tree) return Promise.all(indices.map((index) => core.tree.get(index, false)))
  const batch = core.state.storage.read()
  const nodes = Promise.all(indices.map((index) => batch.getTreeNode(index)))
  batch.tryFlush()
  return nodes
}
