//! What is simulated.

use std::time::Duration;

use super::Source;

/// A seeded generator of telemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulator {
    pub shape: Shape,
    /// Events per second over all partitions; 0 means as fast as they are taken.
    pub rate: u64,
    pub seed: u64,
    /// Number of events after which the source ends; `None` means never.
    pub count: Option<u64>,
    /// Number of devices: vehicles, sensors, instances.
    pub keys: u64,
    /// Share of events that arrive late, 0 to 1.
    pub disorder: f64,
    /// How late they arrive at most.
    pub late_by: Duration,
    /// Share of events that arrive twice, 0 to 1.
    pub duplicates: f64,
    /// Share of events that arrive a second time with other content, 0 to 1. Sensors only: the others have no id.
    pub conflicts: f64,
    /// Share of messages that cannot be read, 0 to 1.
    pub broken: f64,
    /// Number of types of devices. Sensors only.
    pub types: u64,
}

impl Simulator {
    /// The simulator of a shape as it is where nothing else is said.
    pub fn of(shape: Shape) -> Self {
        Simulator {
            shape,
            rate: 1_000,
            seed: 1,
            count: None,
            keys: if shape == Shape::Vehicles { 100 } else { 50 },
            disorder: 0.0,
            late_by: Duration::from_secs(30),
            duplicates: if shape == Shape::Sensors { 0.02 } else { 0.0 },
            conflicts: 0.0,
            broken: 0.0,
            types: Shape::TYPES_USUAL,
        }
    }

    /// What stands in for `source`: the log messages of databases are not among their metrics.
    pub fn standing_for(&self, source: &Source) -> Self {
        let shape = match (self.shape, Shape::read_by(source)) {
            (Shape::Metrics, Some(Shape::Logs)) => Shape::Logs,
            (shape, _) => shape,
        };
        Simulator { shape, ..self.clone() }
    }
}

/// Whose events are simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Signals of vehicles, one in each event.
    #[default]
    Vehicles,
    /// Readings of sensors of several types.
    Sensors,
    /// Metrics of database instances.
    Metrics,
    /// Log messages of services.
    Logs,
}

impl Shape {
    /// Types of sensors: at most, and where nothing else is said. The five come first among the ten.
    pub const TYPES_MAX: u64 = 10;
    const TYPES_USUAL: u64 = 5;

    /// What is simulated, in the plural.
    pub fn devices(self) -> &'static str {
        match self {
            Shape::Vehicles => "vehicles",
            Shape::Sensors => "sensors",
            Shape::Metrics => "instances of databases",
            Shape::Logs => "instances of services",
        }
    }

    /// The shape whose fields `source` reads, told by those that no other shape has.
    pub fn read_by(source: &Source) -> Option<Shape> {
        let has = |name: &&str| source.columns.iter().any(|column| column.name == *name);
        let fields: [(Shape, &[&str]); 4] = [
            (Shape::Vehicles, &["did", "name", "eventTime"]),
            (Shape::Sensors, &["device_id", "device_type", "event_duration"]),
            (Shape::Metrics, &["database_type", "instance_id", "metric_name"]),
            (Shape::Logs, &["service", "level", "message"]),
        ];
        fields.iter().find(|(_, names)| names.iter().all(has)).map(|(shape, _)| *shape)
    }
}
