//! What all simulated devices have in common.

use chrono::{DateTime, SecondsFormat};

use super::logs::Service;
use super::metrics::Instance;
use super::sensors::Sensor;
use super::vehicles::Vehicle;
use crate::plan::{Shape, Simulator};

/// A device that sends events. What it sends depends on the seed, its number and when it was asked before.
pub(super) trait Device: Send {
    /// Lives until the time of `turn` and says what it sends then.
    fn report(&mut self, turn: Turn) -> Report;

    /// The last event once more, with other content under the same id; `None` where events have no id.
    fn contradict(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// When a device is asked for an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub event_ms: i64,
    /// Finer than `event_ms`, for those that move.
    pub event_us: i64,
    /// When the first server on the way has received it.
    pub received_ms: i64,
    pub damage: Option<Damage>,
}

/// An event as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Of what kind the device is, where there are several.
    pub kind: &'static str,
}

/// What makes a message unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// JSON that breaks off.
    Cut,
    /// Text that is no JSON.
    NotJson,
    /// No device is named.
    MissingName,
    /// Text where a number or a time belongs.
    WrongType,
    /// JSON, but nothing in it.
    Null,
}

impl Damage {
    pub const ALL: [Damage; 5] =
        [Damage::Cut, Damage::NotJson, Damage::MissingName, Damage::WrongType, Damage::Null];

    /// The message of which `json` is what it should have been. The other two kinds are made with the message.
    pub fn of_whole(damage: Option<Damage>, mut json: Vec<u8>) -> Vec<u8> {
        match damage {
            Some(Damage::Cut) => {
                json.truncate(json.len() * 3 / 5);
                json
            }
            Some(Damage::NotJson) => b"no reading at this time".to_vec(),
            Some(Damage::Null) => b"null".to_vec(),
            Some(Damage::MissingName | Damage::WrongType) | None => json,
        }
    }
}

/// Number `index` of the devices of a simulation.
pub(super) fn device(settings: &Simulator, index: u64) -> Box<dyn Device> {
    match settings.shape {
        Shape::Vehicles => Box::new(Vehicle::new(settings.seed, index)),
        Shape::Sensors => Box::new(Sensor::new(settings.seed, index, settings.types)),
        Shape::Metrics => Box::new(Instance::new(settings.seed, index)),
        Shape::Logs => Box::new(Service::new(settings.seed, index)),
    }
}

/// A time as devices send it.
pub(super) fn rfc3339(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    const SHAPES: [Shape; 4] = [Shape::Vehicles, Shape::Sensors, Shape::Metrics, Shape::Logs];
    const START_MS: i64 = 1_761_559_635_000;

    fn turn(number: i64, damage: Option<Damage>) -> Turn {
        let event_ms = START_MS + number * 1_000;
        Turn { event_ms, event_us: event_ms * 1_000, received_ms: event_ms + 20, damage }
    }

    #[test]
    fn what_is_not_broken_is_an_object_with_the_fields_of_its_shape() {
        for shape in SHAPES {
            let mut fields = HashSet::new();
            for index in 0..20 {
                let mut device = device(&Simulator::of(shape), index);
                for number in 0..50 {
                    let json: Value = serde_json::from_slice(&device.report(turn(number, None)).value)
                        .expect("a message is JSON");
                    let object = json.as_object().expect("an object");
                    let names: Vec<&str> = object.keys().map(String::as_str).collect();
                    fields.insert(names.join(" "));
                }
            }
            let expected = match shape {
                Shape::Vehicles => {
                    "did timestamp name value_type float_value string_value int_value eventTime receivedTime"
                }
                Shape::Sensors => {
                    "event_id device_id device_type timestamp event_duration location value unit status \
                     battery_level signal_strength metadata"
                }
                Shape::Metrics => "timestamp database_type instance_id metric_name value tags metadata",
                Shape::Logs => "timestamp level message service trace_id span_id context",
            };
            assert_eq!(fields, HashSet::from([expected.to_owned()]), "{shape:?}");
        }
    }

    #[test]
    fn damage_is_of_every_kind_in_every_shape() {
        let name_of = |shape| match shape {
            Shape::Vehicles => "did",
            Shape::Sensors => "device_id",
            Shape::Metrics => "instance_id",
            Shape::Logs => "service",
        };
        for shape in SHAPES {
            let mut device = device(&Simulator::of(shape), 3);
            let mut parsed =
                |damage| serde_json::from_slice::<Value>(&device.report(turn(7, Some(damage))).value);
            assert!(parsed(Damage::Cut).is_err() && parsed(Damage::NotJson).is_err(), "{shape:?}");
            assert_eq!(parsed(Damage::MissingName).expect("JSON").get(name_of(shape)), None);
            let wrong = parsed(Damage::WrongType).expect("JSON");
            let wrongly_typed = match shape {
                Shape::Vehicles => wrong["int_value"].is_string(),
                Shape::Sensors | Shape::Metrics => wrong["value"].is_string(),
                Shape::Logs => wrong["timestamp"] == "soon",
            };
            assert!(wrongly_typed, "{wrong}");
            assert!(parsed(Damage::Null).expect("JSON").is_null());
        }
    }

    #[test]
    fn only_events_with_an_id_can_be_contradicted() {
        for shape in SHAPES {
            let mut device = device(&Simulator::of(shape), 3);
            let first = device.report(turn(0, None)).value;
            let Some(second) = device.contradict() else {
                assert_ne!(shape, Shape::Sensors);
                continue;
            };
            let parsed = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("JSON");
            let (first, second) = (parsed(&first), parsed(&second));
            assert_eq!(first["event_id"], second["event_id"]);
            assert_ne!(first["value"], second["value"]);
        }
    }
}
