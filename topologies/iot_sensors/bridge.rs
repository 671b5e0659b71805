//! `mqtt-bridge`: messages of an MQTT broker to a topic of Kafka, none lost. A program of its own:
//! `mqtt-bridge HOST:PORT FILTER TOPIC bootstrap.servers=… [KEY=VALUE]…`; user and password of the MQTT broker are read from
//! `MQTT_USER` and `MQTT_PASSWORD`. The key is the last level of the message's topic: with the filter `sensors/+`, the sensor.
//!
//! `mosquitto_pub -q 1 -t sensors/s1 -m '{"millis":21500,"ts":1700000000000}'` is a reading of sensor `s1`.
//!
//! It shows who may say "got it" and when: the MQTT broker keeps a message until it is acknowledged, and the bridge does so
//! after Kafka has committed it. The session outlives a connection (`clean_session=false`, a fixed client id), so what
//! comes while no bridge runs waits in the broker, once a bridge has subscribed. Between Kafka's commit and the
//! acknowledgement a kill makes the broker send a message again: at least once. Who reads must take a repeat for what it is;
//! `iot-sensors` keeps a reading under its sensor and time, where a repeat changes nothing.
//!
//! Use it where devices speak MQTT with QoS 1 or 2 (QoS 0 promises nothing), and tell the broker to keep what waits: Mosquitto
//! forgets it in a crash without `persistence true`, drops above `max_queued_messages` (1,000 by default), and sends no more
//! than `max_inflight_messages` (20) at a time. One bridge runs per client id (`client.id`, by default `mqtt-bridge`): a second
//! takes the session over, and Kafka refuses what the first still writes. More than one bridge, another filter or another
//! topic: a `client.id` each, for a session keeps what it once subscribed to. No TLS to the MQTT broker. A message that
//! Kafka refuses, or of more than a million bytes, holds up the bridge with an error: raise the topic's
//! `max.message.bytes`, or give the bridge a new `client.id`.

#![expect(clippy::disallowed_methods, reason = "a process by itself: waiting is its own")]

use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use rumqttc::{Client, Event, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode};
use std::{convert::Infallible, env, thread, time::Duration};

type Threaded = ThreadedProducer<DefaultProducerContext>;
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The greatest message, in bytes: what Kafka takes, unless told otherwise.
const MESSAGE: usize = 1_000_000;
/// Messages of one transaction, and their bytes.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 8_000_000;
const GRANTED: SubscribeReasonCode = SubscribeReasonCode::Success(QoS::AtLeastOnce);
/// Acknowledgements that may wait: a broker leaves no more messages open.
const ANSWERS: usize = 65_536;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// Writes messages, all or none.
fn write(producer: &Threaded, topic: &str, messages: &[Publish]) -> Result<()> {
    producer.begin_transaction()?;
    for Publish { topic: from, payload, .. } in messages {
        let key = from.rsplit('/').next().unwrap_or_default();
        let record = BaseRecord::to(topic).key(key).payload(&payload[..]);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(producer.commit_transaction(TIMEOUT)?)
}

/// Goes on until either side fails; what was not acknowledged comes again.
fn bridge(broker: &MqttOptions, filter: &str, topic: &str, settings: &ClientConfig) -> Result<Infallible> {
    let producer: Threaded = settings.create()?;
    producer.init_transactions(TIMEOUT).map_err(|error| format!("Kafka: {error}"))?;
    let (client, mut connection) = Client::new(broker.clone(), ANSWERS);
    loop {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut next = Some(connection.recv().map_err(|_| "the client has ended")?);
        while let Some(event) = next {
            match event.map_err(|error| format!("the MQTT broker: {error}"))? {
                Event::Incoming(Packet::ConnAck(answer)) => {
                    if !answer.session_present {
                        eprintln!("mqtt-bridge: a new session: what came before it did not wait");
                    }
                    client.try_subscribe(filter, QoS::AtLeastOnce)?;
                }
                Event::Incoming(Packet::SubAck(answer)) if answer.return_codes != [GRANTED] => {
                    return Err(format!("the MQTT broker does not grant `{filter}` with QoS 1").into());
                }
                Event::Incoming(Packet::Publish(message)) => {
                    bytes += message.payload.len();
                    batch.push(message);
                }
                _ => {}
            }
            let full = batch.len() == BATCH || bytes > BATCH_BYTES;
            next = if full { None } else { connection.try_recv().ok() };
        }
        if !batch.is_empty() {
            write(&producer, topic, &batch).map_err(|error| format!("Kafka topic {topic}: {error}"))?;
            batch.iter().try_for_each(|message| client.try_ack(message))?;
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let usage = "write `mqtt-bridge HOST:PORT FILTER TOPIC bootstrap.servers=HOST:PORT [KEY=VALUE]…`";
    let [server, filter, topic, pairs @ ..] = &arguments[..] else { return Err(usage.into()) };
    let (host, port) = server.rsplit_once(':').ok_or(usage)?;
    let pair = |text: &String| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut settings = pairs.iter().map(pair).collect::<Option<ClientConfig>>().ok_or("a setting without `=`")?;
    let id = settings.get("client.id").filter(|id| !id.is_empty()).unwrap_or("mqtt-bridge").to_owned();
    settings.set("client.id", &id).set("transactional.id", &id).set("partitioner", "murmur2_random");
    settings.get("bootstrap.servers").ok_or(usage)?;
    drop(settings.create::<Threaded>()?); // what it does not take would fail for ever
    if !rumqttc::valid_filter(filter) {
        return Err(format!("`{filter}` is no filter of MQTT: `+` stands for a level, `#` for all that follow").into());
    }
    let port = port.parse().map_err(|_| format!("`{port}` is no port: {usage}"))?;
    let mut broker = MqttOptions::new(id, host, port);
    broker
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(MESSAGE, MESSAGE);
    if let Ok(user) = env::var("MQTT_USER") {
        broker.set_credentials(user, env::var("MQTT_PASSWORD").map_err(|_| "MQTT_USER without MQTT_PASSWORD")?);
    }
    loop {
        let Err(error) = bridge(&broker, filter, topic, &settings);
        eprintln!("mqtt-bridge: {error}; it connects anew");
        thread::sleep(PAUSE);
    }
}
