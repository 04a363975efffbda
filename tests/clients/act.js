// Acts with MQTT.js as it is told, in Node and in a browser alike: one command a line, one event a line. `act_paho.py`
// understands the same commands.
//
// In Node the commands come by stdin and the events go to stdout. In a page, which has MQTT.js as a global, the commands
// are fetched from `/next` and the events posted to `/event`.
'use strict'

const LEVELS = { '3.1': 3, '3.1.1': 4, '5.0': 5 }

// Does what commands say with clients by name, and tells what happens by `say`.
function actor (mqtt, say) {
  const clients = {}
  const acts = {
    connect ({ name, url, version, clean, will }) {
      const v5 = version === '5.0'
      const client = clients[name] = mqtt.connect(url, {
        clientId: name,
        protocolVersion: LEVELS[version],
        protocolId: version === '3.1' ? 'MQIsdp' : 'MQTT',
        clean,
        reconnectPeriod: 0,
        properties: v5 && !clean ? { sessionExpiryInterval: 600 } : undefined,
        will
      })
      client.on('connect', packet => say({ is: 'connected', name, present: packet.sessionPresent }))
      client.on('error', error => say({ is: 'error', name, what: String(error) }))
      client.on('close', () => say({ is: 'closed', name }))
      client.on('disconnect', packet => say({ is: 'disconnected', name, reason: packet.reasonCode }))
      client.on('message', (topic, payload, { qos, retain }) =>
        say({ is: 'message', name, topic, payload: payload.toString(), qos, retain }))
    },
    subscribe ({ name, filter, qos }) {
      clients[name].subscribe(filter, { qos }, (error, granted) =>
        say({ is: 'subscribed', name, qos: error ? String(error) : granted[0].qos }))
    },
    publish ({ name, topic, payload, qos, retain }) {
      clients[name].publish(topic, payload, { qos, retain }, error =>
        say({ is: 'published', name, error: error ? String(error) : null }))
    },
    // Without DISCONNECT, so that its will is published.
    cut ({ name }) { clients[name].stream.destroy() },
    // In a page: of its own origin, whatever the port.
    cookie ({ name, value }) {
      document.cookie = value
      say({ is: 'cookie', name, cookies: document.cookie })
    },
    go ({ url }) { location = url },
    end ({ name }) { clients[name].end(false, {}, () => say({ is: 'ended', name })) }
  }
  return command => {
    try {
      acts[command.act](command)
    } catch (error) {
      say({ is: 'error', name: command.name, what: String(error) })
    }
  }
}

if (typeof window === 'undefined') {
  const mqtt = require(process.env.MQTTJS)
  const act = actor(mqtt, event => process.stdout.write(JSON.stringify(event) + '\n'))
  require('node:readline').createInterface({ input: process.stdin })
    .on('line', line => act(JSON.parse(line)))
    .on('close', () => process.exit(0))
} else {
  // One after the other, so that they arrive in order.
  let told = Promise.resolve()
  const say = event => {
    told = told.then(() => fetch('/event', { method: 'POST', body: JSON.stringify(event) }))
  }
  const act = actor(window.mqtt, say)
  window.addEventListener('error', event => say({ is: 'error', what: event.message }))
  say({ is: 'ready', origin: location.origin, agent: navigator.userAgent })
  ;(async () => {
    while (true) {
      const answer = await fetch('/next')
      if (answer.status !== 200) continue
      const command = await answer.json()
      act(command)
      if (command.act === 'go') return // what comes next is for the next page
    }
  })()
}
