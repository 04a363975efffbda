// Plays scenarios with MQTT.js: one JSON object a line on stdin, one answer a line on stdout.
//
// A scenario names a server; the answer is the transcript of all that the clients saw there, so that the
// same scenario played directly and through a proxy can be compared. `play_paho.py` plays the same ones.
// It ends when stdin ends.
'use strict'

const { createHash } = require('node:crypto')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const readline = require('node:readline')
const { MqttClient, connect } = require(
  process.env.MQTTJS || path.join(__dirname, '../../target/real/node/node_modules/mqtt'))

const LEVELS = { '3.1': 3, '3.1.1': 4, '5.0': 5 }
const AT_ONCE = 4

function plain (properties) {
  const seconds = properties && properties.messageExpiryInterval
  if (seconds > 3540) properties.messageExpiryInterval = 3600 // the server counts the seconds that it kept it
  return JSON.parse(JSON.stringify(properties || {}, (_, value) =>
    value && value.type === 'Buffer' ? Buffer.from(value.data).toString('base64') : value))
}

// An MQTT.js client whose events become a queue that can be waited for.
class Client {
  constructor (scenario, name, will) {
    this.milliseconds = scenario.seconds * 1000
    this.v5 = scenario.version === '5.0'
    this.events = []
    this.waiting = null
    const level = LEVELS[scenario.version]
    const options = {
      clientId: `${name}${scenario.id}`,
      protocolVersion: level,
      protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
      clean: true,
      keepalive: 60,
      reconnectPeriod: 0,
      connectTimeout: this.milliseconds,
      will
    }
    if (will) will.properties = this.properties()
    if (scenario.cafile) options.ca = fs.readFileSync(scenario.cafile)
    const url = new URL(scenario.url)
    this.mqtt = url.protocol === 'unix:'
      ? new MqttClient(() => net.connect(url.pathname), options)
      : connect(scenario.url, options)
    this.mqtt.on('connect', packet => this.put('connack', packet))
    this.mqtt.on('error', error => this.put('error', String(error)))
    this.mqtt.on('close', () => this.put('close', null))
    this.mqtt.on('message', (topic, payload, packet) => this.put('message', {
      topic,
      qos: packet.qos,
      retain: packet.retain,
      dup: packet.dup,
      length: payload.length,
      sha256: createHash('sha256').update(payload).digest('hex'),
      properties: plain(packet.properties)
    }))
  }

  properties () {
    if (!this.v5) return undefined
    return {
      userProperties: { a: ['1', '\u00e4\u{1f680}'], b: '2' },
      contentType: 'text/plain',
      payloadFormatIndicator: true,
      responseTopic: 'answers/here',
      correlationData: Buffer.from([0, 255, 1]),
      messageExpiryInterval: 3600
    }
  }

  put (kind, what) {
    if (kind === 'connack') {
      what = [what.sessionPresent, what.returnCode ?? what.reasonCode, plain(what.properties)]
    }
    this.events.push([kind, what])
    if (this.waiting) this.waiting()
  }

  // The next event of a kind; anything else that comes first is a failure.
  async wait (kind) {
    if (this.events.length === 0) {
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${kind} within ${this.milliseconds} ms`)), this.milliseconds)
        this.waiting = () => { clearTimeout(timer); this.waiting = null; resolve() }
      })
    }
    const event = this.events.shift()
    if (event[0] !== kind) throw new Error(`${JSON.stringify(event)} where ${kind} was due`)
    return event
  }

  // Calls an operation of MQTT.js whose last argument is a callback; fails when the time is up.
  call (operation, ...parameters) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${operation} took over ${this.milliseconds} ms`)), this.milliseconds)
      this.mqtt[operation](...parameters, (error, result, packet) => {
        clearTimeout(timer)
        error ? reject(error) : resolve([result, packet])
      })
    })
  }

  async publish (topic, payload, qos, retain = false) {
    const [packet] = await this.call('publish', topic, payload, { qos, retain, properties: this.properties() })
    return ['published', qos > 0 && packet ? [packet.cmd, packet.reasonCode ?? 0] : []]
  }

  async subscribe (filter, qos) {
    const [granted, packet] = await this.call('subscribe', filter, { qos })
    return ['suback', [granted.map(one => one.qos), plain(packet && packet.properties)]]
  }

  end () { this.mqtt.end(true) }
}

// A payload without a short period, so that lost or repeated pieces show.
function payloadOf (length) {
  const blocks = []
  for (let i = 0; i * 32 <= length; i++) {
    const number = Buffer.alloc(4)
    number.writeUInt32BE(i)
    blocks.push(createHash('sha256').update(number).digest())
  }
  return Buffer.concat(blocks).subarray(0, length)
}

async function play (scenario) {
  const { prefix } = scenario
  const log = []
  const clients = []
  async function client (name, will) {
    const one = new Client(scenario, name, will)
    clients.push(one)
    log.push(await one.wait('connack'))
    return one
  }
  try {
    const subscriber = await client('s')
    log.push(await subscriber.subscribe(prefix + '/#', 2))
    const publisher = await client('p', { topic: prefix + '/will', payload: 'gone', qos: 1, retain: false })
    for (const qos of scenario.qos) {
      log.push(await publisher.publish(`${prefix}/qos${qos}`, `hello ${qos}`, qos))
      log.push(await subscriber.wait('message'))
      log.push(await publisher.publish(`${prefix}/empty${qos}`, '', qos))
      log.push(await subscriber.wait('message'))
    }
    log.push(await publisher.publish(prefix + '/kept', 'kept', 1, true))
    log.push(await subscriber.wait('message'))
    const late = await client('l')
    log.push(await late.subscribe(prefix + '/kept', 1))
    log.push(await late.wait('message'))
    await late.call('unsubscribe', prefix + '/kept')
    late.end()
    log.push(await publisher.publish(prefix + '/kept', '', 1, true))
    log.push(await subscriber.wait('message'))
    for (const qos of scenario.large_qos) {
      log.push(await publisher.publish(`${prefix}/large${qos}`, payloadOf(scenario.large), qos))
      log.push(await subscriber.wait('message'))
    }
    publisher.mqtt.stream.destroy()
    log.push(await subscriber.wait('message'))
    subscriber.end()
    return { id: scenario.id, log }
  } catch (error) {
    return { id: scenario.id, log, error: String(error) }
  } finally {
    for (const one of clients) one.end()
  }
}

const scenarios = []
let playing = 0
function next () {
  while (playing < AT_ONCE && scenarios.length > 0) {
    playing++
    play(scenarios.shift()).then(answer => {
      playing--
      process.stdout.write(JSON.stringify(answer) + '\n')
      next()
    })
  }
}
readline.createInterface({ input: process.stdin })
  .on('line', line => { scenarios.push(JSON.parse(line)); next() })
  .on('close', () => { if (scenarios.length + playing === 0) process.exit(0) })
