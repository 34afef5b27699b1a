import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

import b4a from 'b4a'
import crypto from 'hypercore-crypto'

const MAX_FILE_BYTES = 4096

/**
 * Read the Noise key file that `datdot keys new noise FILE` wrote.
 * @param {string} path
 * @returns {{publicKey: Uint8Array, secretKey: Uint8Array}}
 * @throws {Error} it cannot be read, is open to others, or is no such file
 */
export function readKeyPair(path) {
  let text
  const file = openSync(path)
  try {
    if ((fstatSync(file).mode & 0o077) !== 0) {
      throw new Error(`the key file ${path} is open to others; run chmod 600 ${path}`)
    }
    const data = b4a.alloc(MAX_FILE_BYTES)
    text = b4a.toString(data.subarray(0, readSync(file, data, 0, MAX_FILE_BYTES, 0)))
  } finally {
    closeSync(file)
  }
  const refused = new Error(`${path} is not a noise key file of datdot keys new`)
  let content
  try {
    content = JSON.parse(text)
  } catch {
    // Without the cause: it could quote the file's content, a secret.
    throw refused
  }
  const { kind, seed } = content ?? {}
  if (kind !== 'noise' || typeof seed !== 'string' || !/^0x[0-9a-f]{64}$/.test(seed)) throw refused
  const keyPair = crypto.keyPair(b4a.from(seed.slice(2), 'hex'))
  if (content.public !== '0x' + b4a.toString(keyPair.publicKey, 'hex')) throw refused
  return keyPair
}
