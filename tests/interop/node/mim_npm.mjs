import { connect, hypercore, keyPair, temporaryFolder } from './peers.mjs'
const [,, to, key, version, mode, reps] = process.argv
const H = await hypercore(version)
const T=()=>Number(process.hrtime.bigint())/1e6
const out=[]
for (let s=0;s<Number(reps);s++) {
const core = new H(temporaryFolder(), Buffer.from(key,'hex'))
await core.ready()
const stream = connect(to, keyPair())
const log=[]
const w = stream.write.bind(stream)
stream.write=(d,...r)=>{ log.push(['W',T(),Buffer.from(d).subarray(0,14).toString('hex')]); return w(d,...r)}
stream.on('data',d=>log.push(['R',T(),Buffer.from(d).subarray(0,8).toString('hex')]))
core.replicate(stream)
await core.update({wait:true})
log.push(['update',T(),''])
if (mode==='w') { await core.download({start:0,end:core.length}).done() }
else for (let i=0;i<300;i++) await core.get((i*37)%core.length)
await core.close(); stream.destroy()
out.push(log)
}
console.log(JSON.stringify(out))
process.exit(0)
