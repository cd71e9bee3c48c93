//! Vehicles that drive, park and charge: the physics behind the simulator.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::device::{Device, Report, Turn};
use super::signals::{Message, Signal};

/// Longest step of the physics; a vehicle that reports less often is moved in several.
const STEP_S_MAX: f64 = 1.0;
/// More steps than this are not simulated between two reports: the vehicle stood still in the meantime.
const STEPS_MAX: u32 = 120;
/// km/h gained and lost per second at most.
const ACCELERATION: f64 = 9.0;
const BRAKING: f64 = 14.0;
/// Percent of charge: per km, per second with ignition on, and gained per second at the charger.
const DRAIN_PER_KM: f64 = 0.25;
const DRAIN_PER_S: f64 = 0.000_5;
const CHARGE_PER_S: f64 = 0.03;
/// Below this the driver looks for a charger.
const SOC_LOW: f64 = 12.0;

/// State of one vehicle.
#[derive(Clone, Debug)]
pub(super) struct Vehicle {
    rng: Pcg64Mcg,
    pub did: u64,
    pub ignition: bool,
    pub speed_kmh: f64,
    pub odometer_km: f64,
    pub soc_percent: f64,
    /// Speed that the driver wants, and for how long.
    target_kmh: f64,
    target_left_s: f64,
    /// Seconds until the trip or the stop ends.
    phase_left_s: f64,
    /// Time of the last report.
    moved_us: Option<i64>,
    reports: u64,
}

impl Vehicle {
    /// Vehicle number `index` of the fleet with this seed.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(xxh3_64_with_seed(&index.to_le_bytes(), seed));
        let mut vehicle = Vehicle {
            did: 100_001 + index,
            ignition: rng.random_bool(0.7),
            speed_kmh: 0.0,
            odometer_km: rng.random_range(100.0..120_000.0),
            soc_percent: rng.random_range(20.0..100.0),
            target_kmh: 0.0,
            target_left_s: 0.0,
            phase_left_s: rng.random_range(20.0..300.0),
            moved_us: None,
            reports: rng.random_range(0..Signal::ALL.len() as u64),
            rng,
        };
        if vehicle.ignition {
            vehicle.speed_kmh = vehicle.rng.random_range(0.0..110.0);
            vehicle.target_kmh = vehicle.speed_kmh;
        }
        vehicle
    }

    /// Lives until `time_us` and tells which signal it reports then.
    fn live(&mut self, time_us: i64) -> Signal {
        let mut left_s = self.moved_us.map_or(0, |moved| (time_us - moved).max(0)) as f64 / 1e6;
        self.moved_us = Some(time_us);
        for _ in 0..STEPS_MAX {
            if left_s <= 0.0 {
                break;
            }
            let step_s = left_s.min(STEP_S_MAX);
            self.step(step_s);
            left_s -= step_s;
        }
        self.reports += 1;
        Signal::ALL[(self.reports % Signal::ALL.len() as u64) as usize]
    }

    fn step(&mut self, seconds: f64) {
        self.phase_left_s -= seconds;
        if self.ignition { self.drive(seconds) } else { self.park(seconds) }
    }

    fn drive(&mut self, seconds: f64) {
        let arriving = self.phase_left_s <= 0.0 || self.soc_percent < SOC_LOW;
        self.target_left_s -= seconds;
        if arriving {
            self.target_kmh = 0.0;
        } else if self.target_left_s <= 0.0 {
            let standing = self.rng.random_bool(0.15);
            self.target_kmh = if standing { 0.0 } else { self.rng.random_range(20.0..130.0) };
            self.target_left_s = self.rng.random_range(8.0..45.0);
        }
        let change = self.target_kmh - self.speed_kmh;
        self.speed_kmh += change.clamp(-BRAKING * seconds, ACCELERATION * seconds);
        let km = self.speed_kmh * seconds / 3_600.0;
        self.odometer_km += km;
        self.soc_percent = (self.soc_percent - km * DRAIN_PER_KM - seconds * DRAIN_PER_S).max(0.0);
        if arriving && self.speed_kmh <= 0.0 {
            self.ignition = false;
            self.speed_kmh = 0.0;
            self.phase_left_s = self.rng.random_range(30.0..400.0);
        }
    }

    fn park(&mut self, seconds: f64) {
        self.soc_percent = (self.soc_percent + seconds * CHARGE_PER_S).min(100.0);
        if self.phase_left_s <= 0.0 && self.soc_percent > 2.0 * SOC_LOW {
            self.ignition = true;
            self.target_left_s = 0.0;
            self.phase_left_s = self.rng.random_range(60.0..1_200.0);
        }
    }
}

impl Device for Vehicle {
    fn report(&mut self, turn: Turn) -> Report {
        let signal = self.live(turn.event_us);
        let Turn { event_ms, received_ms, .. } = turn;
        let message = Message { vehicle: self, signal, event_ms, received_ms };
        Report { key: self.did.to_string().into_bytes(), value: message.to_json(turn.damage), kind: "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    #[test]
    fn vehicles_move_as_vehicles_do() {
        let (mut drove, mut parked, mut charged) = (0, 0, 0);
        for index in 0..50 {
            let mut vehicle = Vehicle::new(7, index);
            vehicle.live(0);
            for second in 1..2_000 {
                let before = vehicle.clone();
                vehicle.live(second * SECOND_US);
                let km = vehicle.odometer_km - before.odometer_km;
                assert!((0.0..=130.0).contains(&vehicle.speed_kmh), "speed {}", vehicle.speed_kmh);
                assert!((0.0..=100.0).contains(&vehicle.soc_percent), "charge {}", vehicle.soc_percent);
                let gained = vehicle.speed_kmh - before.speed_kmh;
                assert!((-14.01..=9.01).contains(&gained), "inertia: {gained} km/h in a second");
                assert!((km - vehicle.speed_kmh / 3_600.0).abs() < 1e-6, "the odometer follows the speed");
                if vehicle.ignition && before.ignition {
                    assert!(vehicle.soc_percent < before.soc_percent, "driving drains");
                    drove += 1;
                }
                if !vehicle.ignition {
                    assert_eq!(vehicle.speed_kmh, 0.0, "a parked vehicle stands");
                    parked += 1;
                    charged += i32::from(vehicle.soc_percent > before.soc_percent);
                }
            }
        }
        assert!(drove > 10_000 && parked > 5_000 && charged > 1_000, "{drove} {parked} {charged}");
    }

    #[test]
    fn every_signal_has_its_turn_whatever_the_pace() {
        let mut vehicle = Vehicle::new(1, 1);
        let turns: Vec<_> = (0..8).map(|n| vehicle.live(n * 1_000 * SECOND_US)).collect();
        assert_eq!(turns[..4], turns[4..]);
        assert!(Signal::ALL.iter().all(|signal| turns.contains(signal)));
    }
}
