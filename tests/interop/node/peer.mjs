// A stock peer that does what it is told: node peer.mjs [--version 11] [--seed HEX] [--trace]
//   [--head BYTES] [--small-wants]
// Lines of JSON on standard input are its commands (`obey` in peers.mjs); what happens to its cores
// and streams it prints as events. Its cores have names; each is replicated on every stream.
import { createHash } from 'node:crypto'

import crypto from 'hypercore-crypto'

import {
  block, connect, corestore, endWithParent, hypercore, inside, keyPair, listen, obey, options, say,
  temporaryFolder, trace
} from './peers.mjs'

const BATCH_BLOCKS = 1024

const chosen = options({
  version: '11', seed: undefined, trace: false, head: '64', 'small-wants': false
})
const Hypercore = await hypercore(chosen.version)
if (chosen['small-wants']) Hypercore.enable(Hypercore.SMALL_WANTS)
const keys = keyPair(chosen.seed)
const cores = new Map()
const stores = new Map()
const streams = new Set()
const extensions = new Map()

const bytes = (hex) => (hex === undefined ? undefined : Buffer.from(hex, 'hex'))
const hex = (buffer) => (buffer ? Buffer.from(buffer).toString('hex') : undefined)

function core(name) {
  if (!cores.has(name)) throw new Error(`there is no core named ${name}`)
  return cores.get(name)
}

function state(one) {
  return {
    key: hex(one.key),
    length: one.length,
    fork: one.fork,
    contiguousLength: one.contiguousLength,
    writable: one.writable,
    peers: one.peers.length
  }
}

function added(stream) {
  if (chosen.trace) trace(stream, { head: Number(chosen.head) })
  streams.add(stream)
  stream.on('close', () => streams.delete(stream))
  stream.on('handshake', () => say('stream', { remote: hex(stream.remotePublicKey) }))
  for (const store of stores.values()) store.replicate(stream)
  for (const one of cores.values()) if (!one.ofStore) one.core.replicate(stream)
}

/** A manifest with the keys in hex, for the implementation. */
function manifest(described) {
  if (described === undefined) return undefined
  return {
    ...described,
    signers: described.signers.map(({ publicKey, namespace }) => ({
      publicKey: bytes(publicKey), namespace: bytes(namespace)
    })),
    prologue: described.prologue && {
      hash: bytes(described.prologue.hash), length: described.prologue.length
    },
    linked: described.linked?.map(bytes),
    userData: bytes(described.userData)
  }
}

function encrypted(key) {
  if (key === undefined) return {}
  return chosen.version === '10' ? { encryptionKey: key } : { encryption: { key } }
}

async function opened(name, { store, key, seed, compat, manifest: described, encryption, ...rest }) {
  const given = {
    ...rest,
    compat,
    keyPair: seed === undefined ? undefined : keyPair(seed),
    manifest: manifest(described),
    ...encrypted(bytes(encryption))
  }
  if (store !== undefined) {
    if (!stores.has(store)) {
      const made = new (await corestore(chosen.version))(temporaryFolder())
      stores.set(store, made)
      for (const stream of streams) made.replicate(stream)
    }
    const which = key === undefined ? { name } : { key: bytes(key) }
    return { core: stores.get(store).get({ ...given, ...which }), ofStore: true }
  }
  return { core: new Hypercore(temporaryFolder(), bytes(key), given), ofStore: false }
}

/** Tell of everything that happens to a core. */
function watch(name, one) {
  one.on('upload', (index, length) => say('upload', { core: name, index, bytes: length }))
  one.on('download', (index, length) => say('download', { core: name, index, bytes: length }))
  one.on('append', () => say('append', { core: name, length: one.length, fork: one.fork }))
  one.on('truncate', (length, fork) => say('truncate', { core: name, length, fork }))
  one.on('peer-add', () => say('peer-add', { core: name, peers: one.peers.length }))
  one.on('peer-remove', () => say('peer-remove', { core: name, peers: one.peers.length }))
}

function digest(data) {
  return { bytes: data.byteLength, sha256: createHash('sha256').update(data).digest('hex') }
}

obey({
  /** Make or open a core: with its author's seed, a manifest, a key to read, in a Corestore. */
  async open({ core: name, ...how }) {
    const entry = await opened(name, how)
    await entry.core.ready()
    cores.set(name, entry)
    watch(name, entry.core)
    if (!entry.ofStore) for (const stream of streams) entry.core.replicate(stream)
    return state(entry.core)
  },

  /** Append blocks of the rule in peers.mjs, or given in hex, signed by the core's own key. */
  async append({ core: name, count = 0, size = 1024, blocks }) {
    const one = core(name).core
    const batch = blocks?.map(bytes) ?? []
    const end = one.length + count
    for (let index = one.length; index < end; index++) {
      batch.push(block(index, size))
      if (batch.length === BATCH_BLOCKS) await one.append(batch.splice(0))
    }
    if (batch.length > 0) await one.append(batch)
    return state(one)
  },

  async truncate({ core: name, length, fork }) {
    await core(name).core.truncate(length, fork === undefined ? {} : { fork })
    return state(core(name).core)
  },

  async clear({ core: name, start, end }) {
    await core(name).core.clear(start, end)
  },

  /** Take another core's blocks as the prologue that the manifest of this one names. */
  async prologue({ core: name, from }) {
    const source = core(from).core
    await core(name).core.core.copyPrologue(chosen.version === '10' ? source.core : source.state)
    return state(core(name).core)
  },

  async info({ core: name }) {
    return state(core(name).core)
  },

  async treeHash({ core: name, length }) {
    return { hash: hex(await core(name).core.treeHash(length)) }
  },

  /**
   * Append blocks of the rule, signed by several: `signers` are {index, seed, ahead}, where `ahead`
   * is by how many blocks the tree that this one signs is longer. The longer tree grows in a core
   * of its own.
   */
  async appendSigned({ core: name, count, size = 1024, signers }) {
    const { assemble, assemblev0, partialSignature } = await inside(chosen.version, 'lib/multisig.js')
    const { treeSignable } = await inside(chosen.version, 'lib/caps.js')
    const one = core(name).core
    const { version, signers: declared } = one.manifest
    const length = one.length + count
    const longest = length + Math.max(...signers.map(({ ahead = 0 }) => ahead))
    const draft = new Hypercore(temporaryFolder())
    await draft.ready()
    await draft.append(Array.from({ length: longest }, (_, index) => block(index, size)))
    const parts = []
    for (const { index, seed, ahead = 0 } of signers) {
      const context = version === 0 ? declared[index].namespace : one.key
      const hash = await draft.treeHash(length + ahead)
      const signable = treeSignable(context, hash, length + ahead, one.fork)
      const signature = crypto.sign(signable, keyPair(seed).secretKey)
      const tree = chosen.version === '10' ? draft.core.tree : draft.core
      parts.push(await partialSignature(tree, index, length, length + ahead, signature))
    }
    await draft.close()
    const batch = []
    for (let index = one.length; index < length; index++) batch.push(block(index, size))
    await one.append(batch, { signature: version === 0 ? assemblev0(parts) : assemble(parts) })
    return state(one)
  },

  async has({ core: name, start, end = start + 1 }) {
    return { has: await core(name).core.has(start, end) }
  },

  async get({ core: name, index, ...how }) {
    const data = await core(name).core.get(index, how)
    return data === null ? {} : digest(data)
  },

  /** All blocks of a range that are there, read one after the other. */
  async read({ core: name, start = 0, end }) {
    const one = core(name).core
    const whole = createHash('sha256')
    const stop = end ?? one.length
    for (let index = start; index < stop; index++) whole.update(await one.get(index))
    return { blocks: stop - start, sha256: whole.digest('hex') }
  },

  async download({ core: name, ...range }) {
    await core(name).core.download(range).done()
    return state(core(name).core)
  },

  /** Another session of a core, under a name of its own; its reads are given up when it closes. */
  async session({ core: name, session }) {
    cores.set(session, { core: core(name).core.session(), ofStore: true })
    await core(session).core.ready()
  },

  /** The block at a place in the feed, and the place in it. */
  async seek({ core: name, bytes: position }) {
    return { found: await core(name).core.seek(position) }
  },

  async update({ core: name, wait = true }) {
    const updated = await core(name).core.update({ wait })
    return { updated, ...state(core(name).core) }
  },

  /** Register an extension; its messages become events. */
  async extension({ core: name, extension: title }) {
    const made = core(name).core.registerExtension(title, {
      encoding: 'binary',
      onmessage: (message) => say('extension', { core: name, extension: title, message: hex(message) })
    })
    extensions.set(`${name} ${title}`, made)
  },

  async broadcast({ core: name, extension: title, message }) {
    extensions.get(`${name} ${title}`).broadcast(bytes(message))
  },

  async listen() {
    return { port: await listen(keys, added) }
  },

  /** Connect to HOST:PORT. */
  async connect({ to }) {
    added(connect(to, keys))
  },

  /** Break all streams as a peer does that crashes. */
  async destroy() {
    for (const stream of streams) stream.rawStream.destroy()
  },

  async close({ core: name }) {
    await core(name).core.close()
    cores.delete(name)
  },

  async keyPair({ seed }) {
    return { publicKey: hex(crypto.keyPair(bytes(seed)).publicKey) }
  }
})
endWithParent()
say('ready', { noiseKey: hex(keys.publicKey) })
