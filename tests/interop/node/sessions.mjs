// Ordinary readers, many in one process: node sessions.mjs
// Each command {"id", "do": "session", to, key, seed, windowed, order, count} on standard input is a
// session of its own, with a core and a connection of its own. `windowed`: core.download of the whole
// feed, else core.get of the blocks in `order` one after the other; it ends after `count` blocks, and
// leaves by closing the core and the connection.
import { rm } from 'node:fs/promises'

import { connect, endWithParent, hypercore, keyPair, obey, say, temporaryFolder } from './peers.mjs'

const Hypercore = await hypercore('11')

process.setMaxListeners(0)

obey({
  async session({ to, key, seed, windowed, order, count }) {
    const folder = temporaryFolder()
    const core = new Hypercore(folder, Buffer.from(key, 'hex'))
    await core.ready()
    const stream = connect(to, keyPair(seed))
    core.replicate(stream)
    await core.update({ wait: true })
    if (windowed) await download(core, count)
    else for (const index of order) await core.get(index)
    await core.close()
    stream.destroy()
    await rm(folder, { recursive: true, force: true })
    return {}
  }
})

/** A download of the whole feed, broken off when `count` blocks are there. */
async function download(core, count) {
  let left = count
  const enough = new Promise((resolve) => {
    core.on('download', () => { if (--left === 0) resolve() })
  })
  core.download({ start: 0, end: core.length }).done().catch(() => {})
  await enough
}

endWithParent()
say('ready')
