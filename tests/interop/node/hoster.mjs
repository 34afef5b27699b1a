// A stock hoster: node hoster.mjs [--version 11] [--chunks N] [--size BYTES] [--compat]
// Prints {"event":"listening", port, key, noiseKey}; with --trace each plaintext frame received and sent.
import { block, endWithParent, hypercore, keyPair, listen, options, say, temporaryFolder, trace } from './peers.mjs'

const chosen = options({ version: '11', chunks: '33', size: '1024', seed: undefined, compat: false, trace: false })
const Hypercore = await hypercore(chosen.version)
const core = new Hypercore(temporaryFolder(), { compat: chosen.compat })
await core.ready()
const batch = []
for (let index = 0; index < Number(chosen.chunks); index++) {
  batch.push(block(index, Number(chosen.size)))
  if (batch.length === 64) await core.append(batch.splice(0))
}
if (batch.length > 0) await core.append(batch)

const keys = keyPair(chosen.seed)
const port = await listen(keys, (stream) => {
  if (chosen.trace) trace(stream)
  core.replicate(stream)
})
endWithParent()
say('listening', { port, key: core.key.toString('hex'), noiseKey: keys.publicKey.toString('hex') })
