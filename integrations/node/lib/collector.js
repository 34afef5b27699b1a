// What one session was served of one feed, until a receipt is due. Without I/O.

/**
 * A receipt that is due: its chunks are yet to be looked up in the tree of `head`.
 * @typedef {object} Due
 * @property {{fork: number, length: number}} head
 * @property {Array<{index: number, hash: Uint8Array, size: number}>} entries
 */

/** Collects at most `period` chunks. */
export class Collector {
  /** @param {number} period chunks for each receipt */
  constructor(period) {
    this.sequence = 0
    this._period = period
    this._head = null
    this._served = new Map()
  }

  /**
   * The session was sent the upgrade to this head; another fork or a shorter head discards.
   * @param {number} fork
   * @param {number} length
   */
  headSent(fork, length) {
    const last = this._head
    if (last !== null && (fork !== last.fork || length < last.length)) this._served.clear()
    this._head = { fork, length }
  }

  /**
   * The session was sent a chunk. One that was sent no head holds nothing that a receipt could
   * refer to, so its chunks do not count.
   * @param {number} index
   * @param {() => {hash: Uint8Array, size: number}} leaf called when the chunk counts
   * @returns {Due | null} the receipt that is due now
   */
  chunkSent(index, leaf) {
    if (this._head === null || this._served.has(index)) return null
    this._served.set(index, { index, ...leaf() })
    if (this._served.size < this._period) return null
    const entries = [...this._served.values()]
    this._served.clear()
    return { head: this._head, entries }
  }
}
