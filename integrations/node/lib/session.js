// One connection: sees what is sent on its feeds' channels, and sends the receipts.
import b4a from 'b4a'
import crypto from 'hypercore-crypto'
import flat from 'flat-tree'

import { Collector } from './collector.js'
import { EXTENSION, receiptPeriod, sessionId, signReceipt } from './receipt.js'
import { treeHashOver } from './tree.js'

const PROTOCOL = 'hypercore/alpha'
const SYNC = 0
const DATA = 3
/** Chunks of due receipts that may wait for their look-ups at a time. */
const MAX_WAITING = 6400

export class Session {
  /**
   * Begin to watch a stream; it must not have carried feeds yet.
   * @param {object} stream the Noise stream
   * @param {object} mux its Protomux
   * @param {object} options as `Receipts` has them
   */
  constructor(stream, mux, options) {
    this._stream = stream
    this._options = options
    this._opened = 0
    this._feeds = new Map()
    this._waiting = 0
    this._signing = Promise.resolve()
    if (stream.handshakeHash) this._handshakeEnded()
    else stream.once('handshake', () => this._handshakeEnded())
    const createChannel = mux.createChannel
    mux.createChannel = (description) => {
      const channel = createChannel.call(mux, description)
      if (channel !== null && channel.protocol === PROTOCOL) this._watch(channel)
      return channel
    }
  }

  _handshakeEnded() {
    this._opened = this._options.now()
  }

  /**
   * Look at what is sent on a channel. Neither Hypercore's `upload` event nor anything else that
   * is public tells which head a peer was sent, or what its first sync said.
   */
  _watch(channel) {
    after(channel.messages[SYNC], (sync) => this._feed(channel, sync.length))
    after(channel.messages[DATA], (data) => {
      const feed = this._feed(channel, 0)
      if (data.upgrade) feed.collector.headSent(data.fork, headLength(data.upgrade))
      if (!data.block) return
      const { index, value } = data.block
      const due = feed.collector.chunkSent(index, () => leafOf(value))
      if (due !== null) this._due(channel, feed, due)
    })
  }

  /** A feed that is opened again goes on counting. */
  _feed(channel, length) {
    const id = b4a.toString(channel.id, 'hex')
    let feed = this._feeds.get(id)
    if (feed === undefined) {
      feed = { key: feedKey(channel.userData), collector: new Collector(receiptPeriod(length)) }
      this._feeds.set(id, feed)
    }
    return feed
  }

  _due(channel, feed, due) {
    if (this._waiting + due.entries.length > MAX_WAITING) {
      this._drop(feed, 'too many receipts wait for the disk')
      return
    }
    this._waiting += due.entries.length
    // One after the other, so that they are numbered and sent in the order in which they were due.
    this._signing = this._signing
      .then(() => this._sign(channel, feed, due))
      .catch((error) => this._drop(feed, error.message))
      .then(() => { this._waiting -= due.entries.length })
  }

  async _sign(channel, feed, { head, entries }) {
    if (channel.closed) return this._drop(feed, 'the client has gone')
    const treeHash = await treeHashOver(channel.userData.core, { head, entries })
    if (typeof treeHash === 'string') return this._drop(feed, treeHash)
    if (channel.closed) return this._drop(feed, 'the client has gone')
    const receipt = {
      feedKey: feed.key,
      fork: head.fork,
      length: head.length,
      treeHash,
      client: this._stream.remotePublicKey,
      session: sessionId(this._stream.handshakeHash),
      sequence: feed.collector.sequence++,
      opened: this._opened,
      issued: Math.max(this._options.now(), this._opened),
      entries
    }
    channel.userData.extension(EXTENSION, signReceipt(receipt, this._options.keyPair))
    this._options.onreceipt(receipt)
  }

  _drop(feed, reason) {
    this._options.ondropped({ feedKey: feed.key, client: this._stream.remotePublicKey, reason })
  }
}

/** Call `seen` with each message once it has been sent. */
function after(message, seen) {
  const send = message.send
  message.send = (content, session) => {
    const drained = session === undefined ? send(content) : send(content, session)
    seen(content)
    return drained
  }
}

function feedKey(peer) {
  return peer.core.key ?? peer.replicator.key
}

function headLength({ start, length, additionalNodes }) {
  if (additionalNodes.length === 0) return start + length
  return flat.rightSpan(additionalNodes[additionalNodes.length - 1].index) / 2 + 1
}

function leafOf(value) {
  return { hash: crypto.data(value), size: value.byteLength }
}
