// node --experimental-websocket client.mjs URL: read, sign and watch; one line of JSON for each step.
import { createClient, Enum } from 'polkadot-api'
import { getPolkadotSigner } from 'polkadot-api/signer'
import { getWsProvider } from 'polkadot-api/ws'
import { Keyring } from '@polkadot/keyring'
import { cryptoWaitReady } from '@polkadot/util-crypto'

const plain = (_, value) => (typeof value === 'bigint' ? Number(value) : value)
const say = (step, fields) => process.stdout.write(JSON.stringify({ step, ...fields }, plain) + '\n')

/** All that an observable gives until it completes, or as many as `most`. */
const collect = (observable, most = Infinity) =>
  new Promise((resolve, reject) => {
    const seen = []
    const subscription = observable.subscribe({
      next: (value) => {
        seen.push(value)
        if (seen.length === most) {
          subscription.unsubscribe()
          resolve(seen)
        }
      },
      error: reject,
      complete: () => resolve(seen)
    })
  })

await cryptoWaitReady()
const keyring = new Keyring({ type: 'sr25519' })
const [alice, bob, nobody] = ['//Alice', '//Bob', '//Nobody'].map((uri) => keyring.addFromUri(uri))
const signerOf = (pair) => getPolkadotSigner(pair.publicKey, 'Sr25519', (data) => pair.sign(data))

const client = createClient(getWsProvider(process.argv[2]))
const api = client.getUnsafeApi()

const { name, properties } = await client.getChainSpecData()
say('connected', { name, symbol: properties.tokenSymbol })

const timing = await api.query.Performance.Timing.getValue()
const accounts = await api.query.System.Account.getEntries()
const open = await api.apis.PerformanceApi.open_challenges(alice.address)
say('read', { timing, accounts: accounts.length, open })

const transfer = api.tx.Balances.transfer_keep_alive({ dest: Enum('Id', bob.address), value: 10n ** 12n })
const events = await collect(transfer.signSubmitAndWatch(signerOf(alice)))
say('transfer', {
  statuses: events.map(({ type }) => type),
  ok: events.at(-1).ok,
  events: events.at(-1).events.map(({ type, value }) => `${type}.${value.type}`)
})

try {
  await api.tx.System.remark({ remark: new Uint8Array(3) }).signAndSubmit(signerOf(nobody))
} catch (error) {
  say('refused', { message: `${error.message} ${JSON.stringify(error.error ?? null, plain)}` })
}

// Blocks may be told of that were there before the first new one: only their order counts.
const blocks = await collect(client.finalizedBlock$, 4)
say('watched', { numbers: blocks.map(({ number }) => number) })
client.destroy()
