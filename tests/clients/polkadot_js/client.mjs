// node client.mjs URL: read, sign and watch as an application does; one line of JSON for each step.
import { ApiPromise, WsProvider } from '@polkadot/api'
import { Keyring } from '@polkadot/keyring'

const say = (step, fields) => process.stdout.write(JSON.stringify({ step, ...fields }) + '\n')

const api = await ApiPromise.create({ provider: new WsProvider(process.argv[2]), noInitWarn: true })
const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice')
const bob = new Keyring({ type: 'sr25519' }).addFromUri('//Bob')

say('connected', {
  chain: (await api.rpc.system.chain()).toString(),
  spec: api.runtimeVersion.specName.toString(),
  pallets: Object.keys(api.query).filter((name) => ['providers', 'hosting', 'performance'].includes(name)).sort(),
  calls: Object.keys(api.tx.performance).sort()
})

const timing = (await api.query.performance.timing()).toJSON()
const bond = api.consts.providers.attestorBond.toString()
const open = await api.call.performanceApi.openChallenges(alice.address)
say('read', { timing, bond, open: open.toJSON() })

// A feed without a manifest is its own signer: any valid key will do.
const feed = new Keyring({ type: 'ed25519' }).addFromUri('//Feed').publicKey
const heads = []
const unsubscribe = await api.rpc.chain.subscribeFinalizedHeads((header) => heads.push(header.number.toNumber()))

for (const [name, call] of [
  ['transfer', api.tx.balances.transferKeepAlive(bob.address, 1_000_000_000_000n)],
  ['publish', api.tx.hosting.publishFeed(feed, null)]
]) {
  const statuses = []
  const events = await new Promise((resolve, reject) => {
    call.signAndSend(alice, { nonce: -1 }, ({ status, events, dispatchError }) => {
      statuses.push(status.type)
      if (dispatchError) reject(new Error(dispatchError.toString()))
      if (status.isFinalized) resolve(events)
    }).catch(reject)
  })
  say(name, { statuses, events: events.map(({ event }) => `${event.section}.${event.method}`) })
}

const stored = await api.query.hosting.feeds(feed)
say('stored', { signer: stored.unwrap().signer.toHex(), expected: '0x' + Buffer.from(feed).toString('hex') })

try {
  await api.tx.hosting.publishFeed(feed, null).signAndSend(bob, { nonce: 1_000_000 })
  const pending = (await api.rpc.author.pendingExtrinsics()).length
  say('future', { pending })
  await api.tx.balances.transferKeepAlive(bob.address, 1n).signAndSend(alice, { nonce: 0 })
} catch (error) {
  say('refused', { message: error.message })
}
unsubscribe()
say('watched', { heads: heads.length, ascending: heads.every((head, index) => index === 0 || head === heads[index - 1] + 1) })
await api.disconnect()
