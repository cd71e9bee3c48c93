//! The messages of vehicles: one signal in each, as JSON.

use std::io::Write;

use super::device::{Damage, rfc3339};
use super::vehicles::Vehicle;

/// What a vehicle reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Odometer,
    Soc,
    Speed,
    Ignition,
}

impl Signal {
    /// In the order in which a vehicle reports them, again and again.
    pub const ALL: [Signal; 4] = [Signal::Odometer, Signal::Soc, Signal::Speed, Signal::Ignition];

    fn name(self) -> &'static str {
        match self {
            Signal::Odometer => "odometer",
            Signal::Soc => "soc",
            Signal::Speed => "speed",
            Signal::Ignition => "ignition_status",
        }
    }
}

/// One signal of a vehicle.
pub(super) struct Message<'a> {
    pub vehicle: &'a Vehicle,
    pub signal: Signal,
    pub event_ms: i64,
    pub received_ms: i64,
}

impl Message<'_> {
    /// The message as it is sent, damaged where that is wanted.
    pub fn to_json(&self, damage: Option<Damage>) -> Vec<u8> {
        let (did, signal) = (self.vehicle.did, self.signal.name());
        match damage {
            Some(Damage::NotJson) => format!("{signal} of {did} at {}", self.event_ms).into_bytes(),
            Some(Damage::MissingName) => self.write(None, &self.value()),
            Some(Damage::WrongType) => self.write(
                Some(did),
                r#""value_type": "1", "float_value": "high", "string_value": "", "int_value": "high""#,
            ),
            _ => Damage::of_whole(damage, self.write(Some(did), &self.value())),
        }
    }

    fn write(&self, did: Option<u64>, value: &str) -> Vec<u8> {
        let (ms, name) = (self.event_ms, self.signal.name());
        let (event, received) = (rfc3339(self.event_ms), rfc3339(self.received_ms));
        let did = did.map_or(String::new(), |did| format!(r#""did": "{did}", "#));
        let mut json = Vec::with_capacity(256);
        // Writing into memory does not fail.
        let _ = write!(
            json,
            r#"{{{did}"timestamp": "{ms}", "name": "{name}", {value}, "eventTime": "{event}", "receivedTime": "{received}"}}"#
        );
        json
    }

    /// The fields that hold the value. A device fills `int_value` with text when the signal is a float.
    fn value(&self) -> String {
        let whole = match self.signal {
            Signal::Odometer => {
                let km = self.vehicle.odometer_km;
                return format!(
                    r#""value_type": "0", "float_value": {km:.1}, "string_value": "", "int_value": "0""#
                );
            }
            Signal::Soc => self.vehicle.soc_percent.round(),
            Signal::Speed => self.vehicle.speed_kmh.round(),
            Signal::Ignition => f64::from(u8::from(self.vehicle.ignition)),
        };
        format!(r#""value_type": "1", "float_value": 0, "string_value": "", "int_value": {whole:.0}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_shape_of_the_devices() {
        let mut vehicle = Vehicle::new(0, 0);
        (vehicle.did, vehicle.odometer_km, vehicle.speed_kmh) = (981, 101.5, 25.3);
        let mut message = Message {
            vehicle: &vehicle,
            signal: Signal::Odometer,
            event_ms: 1_761_559_635_000,
            received_ms: 1_761_559_635_875,
        };
        let odometer = r#"{"did": "981", "timestamp": "1761559635000", "name": "odometer", "value_type": "0", "float_value": 101.5, "string_value": "", "int_value": "0", "eventTime": "2025-10-27T10:07:15.000Z", "receivedTime": "2025-10-27T10:07:15.875Z"}"#;
        assert_eq!(String::from_utf8(message.to_json(None)).as_deref(), Ok(odometer));
        (message.signal, message.event_ms, message.received_ms) =
            (Signal::Speed, 1_761_559_636_061, 1_761_559_636_567);
        let speed = r#"{"did": "981", "timestamp": "1761559636061", "name": "speed", "value_type": "1", "float_value": 0, "string_value": "", "int_value": 25, "eventTime": "2025-10-27T10:07:16.061Z", "receivedTime": "2025-10-27T10:07:16.567Z"}"#;
        assert_eq!(String::from_utf8(message.to_json(None)).as_deref(), Ok(speed));
    }
}
