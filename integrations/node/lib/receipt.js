// The bytes of a receipt: a body, then the hoster's ed25519 signature over TAG(receipt) ‖ body.
import b4a from 'b4a'
import crypto from 'hypercore-crypto'

/** The name of the Hypercore extension message that carries a receipt. */
export const EXTENSION = 'datdot/receipt/1'
export const MAX_PERIOD = 100

const VERSION = 1
const TAG = b4a.concat([b4a.from('datdot.performance.v1.receipt')], 32)
const HEADER_BYTES = 1 + 32 + 8 + 8 + 32 + 32 + 32 + 4 + 8 + 8 + 8 + 2
const ENTRY_BYTES = 8 + 32

/**
 * How many distinct chunks a session is served before each receipt.
 * @param {number} length chunks in the head that the session's first sync announced
 */
export function receiptPeriod(length) {
  return Math.min(MAX_PERIOD, Math.max(1, length))
}

/**
 * The 32 bytes that name a session in receipts.
 * @param {Uint8Array} handshakeHash of the Noise handshake, 64 bytes
 */
export function sessionId(handshakeHash) {
  return crypto.hash(handshakeHash)
}

/**
 * What a receipt says.
 * @typedef {object} Receipt
 * @property {Uint8Array} feedKey 32 bytes
 * @property {number} fork of the newest head whose upgrade the session was sent
 * @property {number} length of that head
 * @property {Uint8Array} treeHash of that head, 32 bytes
 * @property {Uint8Array} client the client's static Noise key, 32 bytes
 * @property {Uint8Array} session `sessionId` of the handshake
 * @property {number} sequence 0 for the first receipt of a session and feed, then counted up
 * @property {number} opened end of the handshake, ms since 1970
 * @property {number} issued when it is signed, ms since 1970
 * @property {Array<{index: number, hash: Uint8Array, size: number}>} entries the chunks' leaves, in
 *   the order first served
 */

/**
 * The whole message: body and signature.
 * @param {Receipt} receipt
 * @param {{secretKey: Uint8Array}} keyPair the hoster's Noise key pair
 * @returns {Uint8Array}
 */
export function signReceipt(receipt, keyPair) {
  const body = encodeBody(receipt)
  return b4a.concat([body, crypto.sign(b4a.concat([TAG, body]), keyPair.secretKey)])
}

/** @param {Receipt} receipt */
function encodeBody(receipt) {
  const body = b4a.alloc(HEADER_BYTES + receipt.entries.length * ENTRY_BYTES)
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  let at = 0
  const number = (bytes, value) => {
    if (bytes === 8) view.setBigUint64(at, BigInt(value), true)
    else if (bytes === 4) view.setUint32(at, value, true)
    else if (bytes === 2) view.setUint16(at, value, true)
    else view.setUint8(at, value)
    at += bytes
  }
  const hash = (value) => {
    if (value.byteLength !== 32) throw new Error('keys and hashes of a receipt have 32 bytes')
    body.set(value, at)
    at += 32
  }
  number(1, VERSION)
  hash(receipt.feedKey)
  number(8, receipt.fork)
  number(8, receipt.length)
  hash(receipt.treeHash)
  hash(receipt.client)
  hash(receipt.session)
  number(4, receipt.sequence)
  number(8, receipt.opened)
  number(8, receipt.issued)
  number(8, receipt.entries.reduce((sum, leaf) => sum + BigInt(leaf.size), 0n))
  number(2, receipt.entries.length)
  for (const leaf of receipt.entries) {
    number(8, leaf.index)
    hash(leaf.hash)
  }
  return body
}
