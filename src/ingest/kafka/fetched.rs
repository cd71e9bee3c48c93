//! What the client has fetched of one partition, taken many records at a time.
//!
//! The safe interface of the client library gives one record per call, each with an allocation and through the one
//! queue of all partitions. Here a partition has its queue to itself: what is not wanted now stays in it, and the
//! client stops fetching when it is full. All that is unsafe about reading is in this file.

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use rdkafka::bindings as sys;
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::client::Client;
use crate::error::{Error, Result};
use crate::record::Record;

/// Messages of one call at most.
const TOGETHER: usize = 1_000;

/// The thread that reads, once it does.
pub(super) type Reading = Arc<OnceLock<Thread>>;

/// The queue into which the client puts what it fetches of one partition.
pub(super) struct FetchQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Room for what one call takes.
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// The queue calls with this when something comes into it.
    _reading: Box<Reading>,
    /// The queue must not outlive its client.
    _client: Arc<Client>,
}

/// Something that was fetched.
pub(super) enum Fetched<'a> {
    Record(&'a Record<'a>),
    /// The end of the log; this offset comes next.
    End(u64),
    Error(RDKafkaErrorCode),
}

// SAFETY: the queue of librdkafka may be used by any thread, and nobody but us has this reference to it.
unsafe impl Send for FetchQueue {}

impl FetchQueue {
    /// Takes the queue of a partition from that of the client, which must not be assigned to the partition yet. The
    /// thread is woken when something comes into the queue.
    pub fn new(client: &Arc<Client>, topic: &str, partition: i32, reading: &Reading) -> Result<Self> {
        let no_queue = || Error::internal(format!("no queue for partition {partition} of topic '{topic}'"));
        let name = CString::new(topic).map_err(|error| no_queue().caused_by(error))?;
        // SAFETY: the client lives, and the name ends with a zero.
        let queue = unsafe {
            sys::rd_kafka_queue_get_partition(client.client().native_ptr(), name.as_ptr(), partition)
        };
        let queue = NonNull::new(queue).ok_or_else(no_queue)?;
        let reading = Box::new(reading.clone());
        let opaque: *const Reading = &*reading;
        // SAFETY: the queue lives. What the callback is given lives until the callback is taken away, by `drop`.
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake), opaque.cast_mut().cast());
        }
        Ok(FetchQueue {
            queue,
            messages: Vec::with_capacity(TOGETHER),
            _reading: reading,
            _client: client.clone(),
        })
    }

    /// Whether nothing is there now.
    pub fn is_empty(&self) -> bool {
        // SAFETY: the queue lives.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) == 0 }
    }

    /// Takes at most about `limit` things out of the queue, in order, without waiting. Whether there may be more.
    pub fn take(&mut self, limit: usize, headers: bool, mut each: impl FnMut(Fetched<'_>)) -> bool {
        let room = limit.min(TOGETHER);
        debug_assert!(self.messages.is_empty(), "all were given out");
        // SAFETY: the vector has room for so many pointers, and as many as are told were written.
        let count = unsafe {
            let into = self.messages.as_mut_ptr();
            let count = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, into, room);
            let count = usize::try_from(count).unwrap_or(0).min(room);
            self.messages.set_len(count);
            count
        };
        for message in self.messages.drain(..) {
            let message = Owned(message);
            // SAFETY: it was just given to us, and lives until it is dropped.
            give(unsafe { &*message.0 }, headers, &mut each);
        }
        count == room
    }
}

impl Drop for FetchQueue {
    fn drop(&mut self) {
        // SAFETY: both are still there, and the queue is not used any more.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// A message that is given back when it is dropped.
struct Owned(*mut sys::rd_kafka_message_t);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it is ours, and given back once.
        unsafe { sys::rd_kafka_message_destroy(self.0) }
    }
}

/// Called by the client's threads.
unsafe extern "C" fn wake(_client: *mut sys::rd_kafka_t, reading: *mut c_void) {
    // SAFETY: it is what `FetchQueue::new` has handed over, and it is only read.
    let reading = unsafe { &*reading.cast_const().cast::<Reading>() };
    if let Some(thread) = reading.get() {
        thread.unpark();
    }
}

fn give(message: &sys::rd_kafka_message_t, headers: bool, each: &mut impl FnMut(Fetched<'_>)) {
    let offset = u64::try_from(message.offset);
    if message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
        offset.into_iter().for_each(|offset| each(Fetched::End(offset)));
        return;
    }
    if message.err.is_error() {
        return each(Fetched::Error(message.err.into()));
    }
    let Ok(offset) = offset else { return };
    // SAFETY: pointer and length belong together, and live as long as the message.
    let (key, payload) =
        unsafe { (bytes(message.key, message.key_len), bytes(message.payload, message.len)) };
    let found = if headers { headers_of(message) } else { Vec::new() };
    each(Fetched::Record(&Record {
        offset,
        key,
        payload,
        left_out: 0,
        headers: &found,
        timestamp_ms: timestamp_ms(message),
    }));
}

/// `None` where there is none, as the payload of a tombstone.
///
/// # Safety
///
/// `length` bytes can be read at `start`, unless it is null, for as long as the lifetime lasts.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as above.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}

fn timestamp_ms(message: &sys::rd_kafka_message_t) -> Option<i64> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message lives.
    let timestamp_ms = unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) };
    let known = kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    (known && timestamp_ms != -1).then_some(timestamp_ms)
}

/// The headers of a message. One whose name is no UTF-8 has none: nothing could ask for it.
fn headers_of(message: &sys::rd_kafka_message_t) -> Vec<(&str, Option<&[u8]>)> {
    let mut all = ptr::null_mut();
    let mut found = Vec::new();
    // SAFETY: headers, their names (which end with a zero) and their values live as long as the message.
    unsafe {
        if sys::rd_kafka_message_headers(message, &mut all).is_error() {
            return found;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        while !sys::rd_kafka_header_get_all(all, found.len(), &mut name, &mut value, &mut length).is_error() {
            found.push((CStr::from_ptr(name).to_str().unwrap_or_default(), bytes(value, length)));
        }
    }
    found
}
