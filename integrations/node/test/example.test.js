// The example hoster says in one sentence what is wrong with its command line.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../example/hoster.mjs', import.meta.url))
const feed = '00'.repeat(32)

for (const [args, message] of [
  [[], /name the feeds to keep/],
  [['xyz'], /xyz is not a feed's key/],
  [['--listen', 'localhost:4200', feed], /localhost:4200 is not an address/],
  [['--upstream', '1.2.3.4', feed], /1.2.3.4 is not an address/],
  [['--key', 'missing.json', feed], /missing.json/],
  [['--unknown', feed], /--unknown/]
]) {
  test(`${args.join(' ').slice(0, 40)}: one sentence, and status 1`, (t) => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'datdot-example-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const { status, stderr, stdout } = spawnSync(process.execPath, [script, ...args], { cwd: folder, encoding: 'utf8' })
    assert.equal(status, 1)
    assert.match(stderr, message)
    assert.equal(stderr.trim().split('\n').length, 1)
    assert.equal(stdout, '')
  })
}
