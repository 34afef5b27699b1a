import { connect, hypercore, keyPair, temporaryFolder } from './peers.mjs'
const [,, to, key, version, reps] = process.argv
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
stream.on('handshake',()=>log.push(['HS',T(),'']))
stream.on('open',()=>log.push(['OP',T(),'']))
core.replicate(stream)
await core.update({wait:true})
for (let i=0;i<100;i++) await core.get((i*37)%core.length)
log.push(['got',T(),''])
await core.close()
log.push(['closed',T(),''])
stream.destroy()
out.push(log)
}
for (const i of [0,1,2,out.length-1]) { const log=out[i]; let last=log[0][1]; console.log('---'); for (const [k,t,h] of [...log.slice(0,12),...log.slice(-4)]) {console.log(k,'+'+(t-last).toFixed(3),h); last=t} }
const c=out.map(l=>{const a=l.slice(-3); return l.at(-1)[1]-l.filter(x=>x[2].startsWith('0003')).at(-1)[1]}).sort((a,b)=>a-b)
console.log('close msg to closed', c.map(x=>x.toFixed(2)).join(' '))
const d=out.map(l=>{const i=l.findIndex(x=>x[0]=='W'&&x[2].startsWith('00000105')); return l.slice(i+1).find(x=>x[0]=='W')[1]-l[i][1]}).sort((a,b)=>a-b)
console.log('sync to upgrade', d.map(x=>x.toFixed(3)).join(' '))
const e=out.map(l=>{const g=l.findIndex(x=>x[0]=='got'); return l.slice(g).find(x=>x[2].startsWith('0003'))[1]-l[g][1]}).sort((a,b)=>a-b)
console.log('got to close', e.map(x=>x.toFixed(3)).join(' '))
process.exit(0)
