import b4a from 'b4a'
import crypto from 'hypercore-crypto'

import { Session } from './lib/session.js'

export { EXTENSION, receiptPeriod, sessionId, signReceipt } from './lib/receipt.js'

/**
 * Sends every peer, unasked, a signed receipt over the chunks that it was served.
 *
 * One for each hundred distinct chunks of a feed on a session, or for as many as the feed had when
 * the session began, if it had fewer. Nothing else is ever signed.
 */
export class Receipts {
  /**
   * @param {{publicKey: Uint8Array, secretKey: Uint8Array}} keyPair the registered Noise key pair;
   *   every stream must have been made with it
   * @param {object} [options]
   * @param {(receipt: import('./lib/receipt.js').Receipt) => void} [options.onreceipt] called when
   *   one has been sent
   * @param {(dropped: {feedKey: Uint8Array, client: Uint8Array, reason: string}) => void}
   *   [options.ondropped] called when one that was due is not sent; by default a warning
   * @param {() => number} [options.now] ms since 1970
   */
  constructor(keyPair, { onreceipt = () => {}, ondropped = warn, now = Date.now } = {}) {
    if (!crypto.validateKeyPair(keyPair)) throw new Error('the public key is not of the secret key')
    this._options = { keyPair, onreceipt, ondropped, now }
    this._sessions = new WeakMap()
  }

  /**
   * Replicate a Hypercore or a Corestore as its own `replicate` does, with receipts.
   *
   * Give it a stream as soon as there is one: a receipt tells when the handshake ended.
   * @param {object} target a Hypercore or a Corestore
   * @param {object | boolean} stream a secret stream, or whether to make one as the initiator
   * @param {object} [options] of `replicate`
   * @returns {object} the stream
   * @throws {Error} the stream has another Noise key than the one that signs
   */
  replicate(target, stream, options) {
    if (typeof stream === 'boolean') options = { keyPair: this._options.keyPair, ...options }
    else this._check(stream.noiseStream)
    const outer = target.replicate(stream, options)
    const noise = outer.noiseStream
    this._check(noise)
    // Channels are made later than now, when the stream has been opened.
    if (!this._sessions.has(noise)) {
      this._sessions.set(noise, new Session(noise, noise.userData, this._options))
    }
    return outer
  }

  _check({ publicKey }) {
    // Of a stream that was given a promise of a key, the key is not known yet.
    if (publicKey && b4a.equals(publicKey, this._options.keyPair.publicKey)) return
    throw new Error('the stream has another Noise key than the receipts; give it the keyPair')
  }
}

function warn({ feedKey, reason }) {
  console.warn(`no receipt for feed ${b4a.toString(feedKey, 'hex')}: ${reason}`)
}
