// A stock reader: node reader.mjs --from HOST:PORT --key HEX [--version 11] [--mode get|download]
//   [--window N] [--chunks N] [--order linear|random]
// Reads chunks 0 to N-1 (all by default) and prints {"event":"read", chunks, bytes, seconds, cpuSeconds}.
import { connect, hypercore, keyPair, options, say, temporaryFolder } from './peers.mjs'

const chosen = options({
  version: '11', from: '', key: '', mode: 'get', window: '1', chunks: undefined, order: 'linear', seed: undefined
})
const Hypercore = await hypercore(chosen.version)
const core = new Hypercore(temporaryFolder(), Buffer.from(chosen.key, 'hex'))
await core.ready()
const stream = connect(chosen.from, keyPair(chosen.seed))
core.replicate(stream)
await core.update({ wait: true })

const count = chosen.chunks === undefined ? core.length : Number(chosen.chunks)
const order = Array.from({ length: count }, (_, index) => index)
if (chosen.order === 'random') {
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1))
    ;[order[last], order[other]] = [order[other], order[last]]
  }
}

const begun = process.hrtime.bigint()
const used = process.cpuUsage()
let bytes = 0
if (chosen.mode === 'download') {
  core.on('download', (_index, length) => { bytes += length })
  await core.download({ start: 0, end: count }).done()
} else {
  let next = 0
  await Promise.all(Array.from({ length: Number(chosen.window) }, async () => {
    while (next < order.length) {
      const data = await core.get(order[next++])
      bytes += data.byteLength
    }
  }))
}
const cpu = process.cpuUsage(used)
say('read', {
  chunks: count,
  bytes,
  seconds: Number(process.hrtime.bigint() - begun) / 1e9,
  cpuSeconds: (cpu.user + cpu.system) / 1e6
})
stream.destroy()
await core.close()
process.exit(0)
