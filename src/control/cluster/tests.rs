use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};

use super::*;

fn settings(timeout: Duration) -> settings::Cluster {
    settings::Cluster { connect_timeout: timeout, stall_timeout: Duration::from_secs(60) }
}

/// Listeners on free ports, so that nobody else can get one between the choice and the start.
fn listeners(count: usize) -> (Vec<TcpListener>, Vec<String>) {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let hosts = listeners.iter().map(|l| l.local_addr().expect("an address").to_string()).collect();
    (listeners, hosts)
}

fn agreement(plan: &str) -> Agreement {
    Agreement { dataflow: "d".into(), plan: plan.into(), options: String::new() }
}

type Sockets = Result<Vec<Option<TcpStream>>>;

/// Starts one process of a cluster on a thread.
fn process(
    listener: TcpListener,
    membership: Membership,
    plan: &str,
    timeout: Duration,
) -> thread::JoinHandle<Sockets> {
    let agreement = agreement(plan);
    thread::spawn(move || connect::connect_from(listener, &membership, &agreement, &settings(timeout)))
}

fn joined(handle: thread::JoinHandle<Sockets>) -> Sockets {
    handle.join().expect("no panic")
}

fn refused(handle: thread::JoinHandle<Sockets>) -> String {
    joined(handle).expect_err("refused").to_string()
}

/// For what comes at once, on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn three_processes_exchange_data() {
    let (ports, hosts) = listeners(3);
    let (results, sums) = mpsc::channel();
    let processes: Vec<_> = ports
        .into_iter()
        .enumerate()
        .map(|(process, listener)| {
            let membership = Membership { hosts: hosts.clone(), process, workers: 2 };
            let results = results.clone();
            thread::spawn(move || {
                let sockets = connect::connect_from(listener, &membership, &agreement("p"), &settings(LONG));
                let sockets = sockets.expect("connected").into_iter().enumerate();
                let streams = sockets.map(|(peer, s)| s.map(|s| Framed::new(s, peer))).collect();
                let (builders, guard) = build_on(&membership, streams).expect("allocators");
                let config = timely::WorkerConfig::default();
                let workers = timely::execute::execute_from(builders, guard, config, move |worker| {
                    let results = results.clone();
                    exchange(worker, results);
                });
                workers.expect("workers").join().into_iter().for_each(|result| result.expect("no panic"));
            })
        })
        .collect();
    processes.into_iter().for_each(|process| process.join().expect("no panic"));
    drop(results);
    let received: Vec<(usize, u64)> = sums.iter().collect();
    assert_eq!(received.len(), 6 * 10_000);
    assert!(received.iter().all(|(worker, number)| *number % 6 == *worker as u64));
    assert_eq!(received.iter().map(|(_, number)| number).sum::<u64>(), 6 * (9_999 * 10_000 / 2));
}

/// Every worker sends 10,000 numbers; number n arrives at worker n mod 6.
fn exchange(worker: &mut timely::worker::Worker, results: mpsc::Sender<(usize, u64)>) {
    let index = worker.index();
    let mut input = timely::dataflow::InputHandle::<u64, CapacityContainerBuilder<Vec<u64>>>::new();
    let probe = worker.dataflow::<u64, _, _>(|scope| {
        let received = scope.input_from(&mut input).exchange(|number: &u64| *number);
        let sent =
            received.inspect(move |number: &u64| results.send((index, *number)).expect("somebody counts"));
        sent.probe().0
    });
    (0..10_000_u64).for_each(|number| input.send(number));
    input.close();
    while !probe.done() {
        worker.step_or_park(None);
    }
}

#[test]
fn missing_peers_are_named_at_the_deadline() {
    let (mut ports, mut hosts) = listeners(2);
    hosts.insert(0, "127.0.0.1:1".to_string());
    let membership = Membership { hosts: hosts.clone(), process: 1, workers: 1 };
    let begun = Instant::now();
    let message = refused(process(ports.remove(0), membership, "p", Duration::from_millis(300)));
    // At its own deadline, and not at the default one.
    assert!(begun.elapsed() < Duration::from_secs(25));
    assert!(
        message.contains("process 1: cluster is incomplete, missing: process 0 at 127.0.0.1:1"),
        "{message}"
    );
    assert!(message.contains(&format!("process 2 at {}", hosts[2])), "{message}");
}

#[test]
fn another_plan_ends_both_at_once() {
    let (mut ports, hosts) = listeners(2);
    let membership = |process| Membership { hosts: hosts.clone(), process, workers: 1 };
    let upper = process(ports.remove(1), membership(1), "other plan", LONG);
    let lower = process(ports.remove(0), membership(0), "plan", LONG);
    let (lower, upper) = (refused(lower), refused(upper));
    assert!(lower.contains("process 1 does not fit: its dataflow compiles to another plan"), "{lower}");
    assert!(upper.contains("its dataflow compiles to another plan"), "{upper}");
}

#[test]
fn another_number_of_workers_is_named() {
    let (mut ports, hosts) = listeners(2);
    let membership = |process, workers| Membership { hosts: hosts.clone(), process, workers };
    let upper = process(ports.remove(1), membership(1, 3), "p", LONG);
    let lower = process(ports.remove(0), membership(0, 2), "p", LONG);
    let (lower, upper) = (refused(lower), refused(upper));
    assert!(lower.contains("it has 3 workers, this process 2"), "{lower}");
    assert!(upper.contains("it has 2 workers, this process 3"), "{upper}");
}

#[test]
fn two_processes_with_one_index_are_told() {
    let (mut ports, hosts) = listeners(3);
    let membership = |process| Membership { hosts: hosts.clone(), process, workers: 1 };
    let (second, first) = (ports.remove(2), ports.remove(1));
    let lower = process(ports.remove(0), membership(0), "p", LONG);
    let (ends, ended) = mpsc::channel();
    for port in [first, second] {
        let (upper, ends) = (process(port, membership(1), "p", LONG), ends.clone());
        // The one that was taken waits for process 2 up to its deadline; nobody waits for it.
        thread::spawn(move || ends.send(refused(upper)));
    }
    let lower = refused(lower);
    assert!(lower.contains("there are two processes with -p 1"), "{lower}");
    let upper = ended.recv().expect("the one that was refused");
    assert!(upper.contains("it refuses: there are two processes with -p 1"), "{upper}");
}

#[test]
fn strays_are_rejected_and_the_cluster_comes_up() {
    let (mut ports, hosts) = listeners(2);
    let membership = |process| Membership { hosts: hosts.clone(), process, workers: 1 };
    let upper_port = ports.remove(1);
    let lower = process(ports.remove(0), membership(0), "p", LONG);
    // A silent one, one that speaks HTTP, and a process of another cluster that took the wrong port.
    let _silent = TcpStream::connect(&hosts[0]).expect("connected");
    let mut http = TcpStream::connect(&hosts[0]).expect("connected");
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = http.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
    let (mut other_ports, mut other_hosts) = listeners(1);
    other_hosts.insert(0, hosts[0].clone());
    let other = Membership { hosts: other_hosts, process: 1, workers: 1 };
    let message = refused(process(other_ports.remove(0), other, "p", LONG));
    assert!(message.contains("its hosts file names other addresses"), "{message}");

    let upper = process(upper_port, membership(1), "p", LONG);
    let (lower, upper) = (joined(lower).expect("connected"), joined(upper).expect("connected"));
    assert!(lower[0].is_none() && lower[1].is_some() && upper[0].is_some() && upper[1].is_none());
}

#[test]
fn an_address_in_use_by_something_else_is_told() {
    let (mut ports, hosts) = listeners(2);
    let membership = Membership { hosts: hosts.clone(), process: 1, workers: 1 };
    let stranger = ports.remove(0);
    let answer = thread::spawn(move || {
        let (mut socket, _) = stranger.accept().expect("accepted");
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
        socket
    });
    let message = refused(process(ports.remove(0), membership, "p", LONG));
    assert!(
        message.contains(&format!("process 0 at {}: it is not a tidemill process", hosts[0])),
        "{message}"
    );
    answer.join().expect("no panic");
    let (held, hosts) = listeners(1);
    let membership =
        Membership { hosts: vec![hosts[0].clone(), "127.0.0.1:1".into()], process: 0, workers: 1 };
    let error =
        connect::connect(&membership, &agreement("p"), &settings(LONG)).expect_err("in use").to_string();
    assert!(error.contains(&format!("process 0 cannot listen on {}", hosts[0])), "{error}");
    drop(held);
}

#[test]
fn a_single_process_needs_no_sockets() {
    for workers in [1, 3] {
        let membership = Membership { hosts: Vec::new(), process: 0, workers };
        let (builders, _) = build(&membership, &agreement("p"), &settings(LONG)).expect("allocators");
        assert_eq!((builders.len(), membership.peers()), (workers, workers));
    }
}
